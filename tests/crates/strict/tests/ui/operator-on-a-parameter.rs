#[locks::lock("user_{id + 1}")]
fn refresh(id: u32, n: u32) {}

fn main() {
    refresh(1, 2);
}
