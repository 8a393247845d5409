#[locks::lock("user", on_lost = "panic")]
fn refresh() {}

fn main() {
    refresh();
}
