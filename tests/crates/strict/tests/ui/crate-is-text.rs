#[locks::lock("user", crate = "locks")]
fn refresh() {}

fn main() {
    refresh();
}
