#[locks::lock(r#"a\"日本_{id.}"#)]
fn refresh(id: u32) {}

fn main() {
    refresh(1);
}
