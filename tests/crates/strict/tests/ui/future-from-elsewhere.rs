use std::future::Future;

async fn real() {}

#[locks::lock("user")]
fn refresh() -> impl Future<Output = ()> {
    real()
}

fn main() {
    drop(refresh());
}
