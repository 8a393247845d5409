#[locks::lock("user_{id}", wait = false)]
fn refresh(id: u32) -> Option<u32> {
    let text: &str = id;
    Some(id)
}

fn main() {
    refresh(1);
}
