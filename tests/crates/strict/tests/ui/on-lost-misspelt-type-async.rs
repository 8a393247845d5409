#[locks::lock("user", on_lost = "cancel")]
async fn refresh() -> Balance {
    loop {}
}

fn main() {
    drop(refresh());
}
