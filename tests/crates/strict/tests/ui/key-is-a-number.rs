#[locks::lock(5)]
fn refresh() {}

fn main() {
    refresh();
}
