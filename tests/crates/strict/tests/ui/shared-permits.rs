#[locks::lock("user", shared, permits = 2)]
fn refresh() {}

fn main() {
    refresh();
}
