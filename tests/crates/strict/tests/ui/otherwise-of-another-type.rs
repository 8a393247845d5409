#[locks::lock("user", wait = false, otherwise = "none")]
fn refresh() -> u32 {
    1
}

fn main() {
    refresh();
}
