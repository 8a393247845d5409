#[locks::lock("user_{half(usr)}")]
fn refresh(user: u32) {}

fn half(id: u32) -> u32 {
    id / 2
}

fn main() {
    refresh(half(1));
}
