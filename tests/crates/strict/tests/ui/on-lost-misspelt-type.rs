#[locks::lock("user", on_lost = "error")]
fn refresh() -> Balance {
    loop {}
}

fn main() {
    refresh();
}
