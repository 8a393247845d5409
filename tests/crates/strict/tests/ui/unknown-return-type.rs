#[locks::lock("user")]
fn refresh() -> Balance {
    loop {}
}

fn main() {
    refresh();
}
