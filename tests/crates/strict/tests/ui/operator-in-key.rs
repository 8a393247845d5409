#[locks::lock("user_{id + 1}")]
fn refresh(id: u32) {
    let _ = id;
}

fn main() {
    refresh(1);
}
