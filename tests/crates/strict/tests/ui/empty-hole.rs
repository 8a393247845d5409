#[locks::lock("user_{}")]
fn refresh(_id: u32) {}

fn main() {
    refresh(1);
}
