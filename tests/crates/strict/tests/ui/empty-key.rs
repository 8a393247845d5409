#[locks::lock("")]
fn refresh() {}

fn main() {
    refresh();
}
