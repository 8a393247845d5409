#[locks::lock("user"s)]
fn refresh() {}

fn main() {
    refresh();
}
