#[locks::lock("user_{depth}")]
async fn refresh(depth: u32) {
    if depth > 0 {
        refresh(depth - 1).await;
    }
}

fn main() {
    drop(refresh(1));
}
