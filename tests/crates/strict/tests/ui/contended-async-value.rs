#[locks::lock("user", wait = false)]
async fn refresh() -> u32 {
    1
}

fn main() {
    drop(refresh());
}
