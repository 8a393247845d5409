#[locks::lock("user}")]
fn refresh() {}

fn main() {
    refresh();
}
