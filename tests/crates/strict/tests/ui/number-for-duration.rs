#[locks::lock("user", wait = 5)]
fn refresh() {}

fn main() {
    refresh();
}
