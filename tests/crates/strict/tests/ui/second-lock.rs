#[locks::lock("a")]
#[locks::lock("b")]
fn refresh() {}

fn main() {
    refresh();
}
