#[locks::lock("user_{name.into_bytes().len()}")]
fn refresh(name: String) -> String {
    name
}

fn main() {
    refresh(String::new());
}
