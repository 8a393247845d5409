#[locks::lock("user", wait = false)]
async fn refresh() -> Balance {
    loop {}
}

fn main() {
    drop(refresh());
}
