use std::future::Future;
use std::pin::Pin;

#[locks::lock("user")]
fn refresh() -> Result<Pin<Box<dyn Future<Output = u8>>>, locks::LockError> {
    Ok(Box::pin(async { 1 }))
}

fn main() {
    drop(refresh());
}
