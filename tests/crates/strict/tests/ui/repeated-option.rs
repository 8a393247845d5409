#[locks::lock("user", wait = false, wait = true)]
fn refresh() {}

fn main() {
    refresh();
}
