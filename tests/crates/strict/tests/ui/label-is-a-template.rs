#[locks::lock("user_{id}", label = "order {id}")]
fn refresh(id: u8) {
    let _ = id;
}

fn main() {
    refresh(1);
}
