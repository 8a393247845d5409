#[locks::lock("user", otherwise = |error 5)]
fn refresh() -> u32 {
    1
}

fn main() {
    refresh();
}
