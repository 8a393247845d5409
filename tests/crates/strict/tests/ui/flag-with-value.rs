#[locks::lock("user", shared = true)]
fn refresh() {}

fn main() {
    refresh();
}
