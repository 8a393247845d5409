#[locks::lock("user_{id.await}")]
async fn refresh(id: std::future::Ready<u32>) {
    id.await;
}

fn main() {
    drop(refresh(std::future::ready(1)));
}
