#[locks::lock("user_{format!(id)}")]
fn refresh(id: u32) {
    let _ = id;
}

fn main() {
    refresh(1);
}
