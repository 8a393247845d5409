#[locks::lock("user_{id:>1020}")]
fn refresh(id: u32) {}

fn main() {
    refresh(1);
}
