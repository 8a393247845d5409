use std::future::Future;
use std::pin::Pin;

type Job = Result<Pin<Box<dyn Future<Output = u8>>>, locks::LockError>;

#[locks::lock("user")]
fn refresh() -> Job {
    Ok(Box::pin(async { 1 }))
}

fn main() {
    drop(refresh());
}
