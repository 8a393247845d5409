#[locks::lock("user_{id}", steal-after = "5s")]
fn refresh(id: u32) {
    let _ = id;
}

fn main() {
    refresh(1);
}
