#[locks::lock("user", on_lost = "error")]
async fn refresh() -> u8 {
    1
}

fn main() {
    drop(refresh());
}
