#[locks::lock("user_{user.0:widht$}")]
fn refresh(user: (u32,), width: usize) {}

fn main() {
    refresh((1,), 2);
}
