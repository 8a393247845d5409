use std::pin::Pin;

#[locks::lock("user_{name}")]
fn refresh(name: String) -> Pin<Box<dyn Future<Output = usize>>> {
    let name = name.len();
    Box::pin(async move { name })
}

fn main() {
    drop(refresh(String::new()));
}
