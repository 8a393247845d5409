use std::pin::Pin;

type Work = Pin<Box<dyn Future<Output = ()>>>;

#[locks::lock("user", wait = false, otherwise = |_| Box::pin(async {}))]
fn refresh() -> Work {
    Box::pin(std::future::ready(()))
}

fn main() {
    drop(refresh());
}
