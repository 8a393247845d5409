use std::pin::Pin;

#[locks::lock("user_{id}")]
fn refresh(mut id: u32) -> Pin<Box<dyn Future<Output = ()>>> {
    id += 1;
    Box::pin(async move {
        println!("{id}");
    })
}

fn main() {
    let _ = refresh(1);
}
