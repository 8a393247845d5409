use std::future::Future;

#[locks::lock("user")]
async fn refresh() -> impl Future<Output = u8> {
    async { 1 }
}

fn main() {
    drop(refresh());
}
