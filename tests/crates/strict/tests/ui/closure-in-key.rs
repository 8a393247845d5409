#[locks::lock("user_{id.map_or(0, |x| x)}")]
fn refresh(id: Option<u8>) {
    let _ = id;
}

fn main() {
    refresh(None);
}
