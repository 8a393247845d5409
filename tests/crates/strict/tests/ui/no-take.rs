#[locks::lock("user", permits = 2, take = 0)]
fn refresh() {}

fn main() {
    refresh();
}
