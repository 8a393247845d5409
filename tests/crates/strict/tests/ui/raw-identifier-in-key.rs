#[locks::lock("user_{r#type}")]
fn refresh(r#type: u32) {
    let _ = r#type;
}

fn main() {
    refresh(1);
}
