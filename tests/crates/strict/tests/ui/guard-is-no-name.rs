#[locks::lock("user", guard = a.b)]
fn refresh() {}

fn main() {
    refresh();
}
