#[locks::lock("user_{0}")]
fn refresh(_id: u32) {}

fn main() {
    refresh(1);
}
