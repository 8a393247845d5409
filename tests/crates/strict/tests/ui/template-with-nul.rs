#[locks::lock("user\0_{id}")]
fn refresh(id: u32) {}

fn main() {
    refresh(1);
}
