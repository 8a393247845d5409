#[locks::lock("user", steal_after = "5 parsecs")]
fn refresh() {}

fn main() {
    refresh();
}
