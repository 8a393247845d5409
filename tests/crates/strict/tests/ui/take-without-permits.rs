#[locks::lock("user", take = 3)]
fn refresh() {}

fn main() {
    refresh();
}
