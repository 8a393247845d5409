#[locks::lock(concat!("user_", "1"))]
fn refresh() {}

fn main() {
    refresh();
}
