#[locks::lock("user", SHARED)]
fn refresh() {}

fn main() {
    refresh();
}
