#[locks::lock("user", wait(false))]
fn refresh() {}

fn main() {
    refresh();
}
