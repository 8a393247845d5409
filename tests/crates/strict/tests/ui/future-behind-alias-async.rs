use std::future::Future;
use std::pin::Pin;

type Job = Pin<Box<dyn Future<Output = ()>>>;

#[locks::lock("user")]
async fn refresh() -> Job {
    Box::pin(std::future::ready(()))
}

fn main() {
    drop(refresh());
}
