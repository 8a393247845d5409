use std::future::Future;
use std::pin::Pin;

type Work = Pin<Box<dyn Future<Output = ()>>>;

#[locks::lock("user")]
fn refresh() -> Work {
    Box::pin(std::future::ready(()))
}

fn main() {
    drop(refresh());
}
