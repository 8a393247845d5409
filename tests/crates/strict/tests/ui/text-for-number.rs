#[locks::lock("user", permits = "5")]
fn refresh() {}

fn main() {
    refresh();
}
