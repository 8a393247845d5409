#[locks::lock("{id:\0>5}")]
fn refresh(id: u32) {}

fn main() {
    refresh(1);
}
