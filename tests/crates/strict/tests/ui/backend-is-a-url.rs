#[locks::lock("user", backend = "redis://localhost")]
fn refresh() {}

fn main() {
    refresh();
}
