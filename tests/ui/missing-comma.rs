#[locks::lock("user" "other")]
fn refresh() {}

fn main() {
    refresh();
}
