#[locks::lock("user", steal_after)]
fn refresh() {}

fn main() {
    refresh();
}
