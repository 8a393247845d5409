#[locks::lock("user", wait = false, otherwise = async |_| 5)]
async fn refresh() -> u8 {
    4
}

fn main() {
    let _ = refresh();
}
