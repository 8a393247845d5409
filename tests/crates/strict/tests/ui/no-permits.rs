#[locks::lock("user", permits = 0)]
fn refresh() {}

fn main() {
    refresh();
}
