#[locks::lock("user\0")]
fn refresh() {}

fn main() {
    refresh();
}
