use locks::block::lock;

async fn work() -> u8 {
    let _: Result<(), _> = lock!(async "user", on_lost = "cancel" => {
        return 1;
    });
    2
}

fn main() {
    drop(work());
}
