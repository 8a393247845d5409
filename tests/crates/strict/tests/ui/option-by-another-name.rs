#[locks::lock("user_{id}", timeout = "2s")]
fn refresh(id: u32) {
    let _ = id;
}

fn main() {
    refresh(1);
}
