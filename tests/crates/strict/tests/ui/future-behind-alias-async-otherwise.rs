use std::future::Future;
use std::pin::Pin;

type Job = Pin<Box<dyn Future<Output = ()>>>;

#[locks::lock("user", wait = false, guard = held, otherwise = |_| Box::pin(async {}))]
async fn refresh() -> Job {
    let token = held.token();
    Box::pin(async move { assert_ne!(token.get(), 0) })
}

fn main() {
    drop(refresh());
}
