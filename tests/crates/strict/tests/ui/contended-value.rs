#[locks::lock("user", wait = false)]
fn refresh() -> u32 {
    1
}

fn main() {
    refresh();
}
