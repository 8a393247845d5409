#[locks::lock(wait = false)]
fn refresh() {}

fn main() {
    refresh();
}
