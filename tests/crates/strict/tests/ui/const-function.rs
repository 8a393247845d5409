#[locks::lock("user")]
const fn refresh() -> u32 {
    1
}

fn main() {
    refresh();
}
