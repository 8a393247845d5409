use std::future::Future;
use std::pin::Pin;

#[locks::lock("user")]
fn refresh(id: u8) -> Pin<Box<dyn Future<Output = u8>>> {
    let next = id + 1;
}

fn main() {
    drop(refresh(1));
}
