#[locks::lock("a<b")]
fn refresh() {}

fn main() {
    refresh();
}
