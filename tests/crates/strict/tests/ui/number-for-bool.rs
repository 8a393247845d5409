#[locks::lock("user", fair = 1)]
fn refresh() {}

fn main() {
    refresh();
}
