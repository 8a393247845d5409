#[locks::lock("user_{id}", wait: false)]
fn refresh(id: u32) {
    let _ = id;
}

fn main() {
    refresh(1);
}
