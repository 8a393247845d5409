#[locks::lock("user", take = 3, permits = 2)]
fn refresh() {}

fn main() {
    refresh();
}
