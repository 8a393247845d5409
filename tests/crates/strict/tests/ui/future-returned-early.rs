use std::pin::Pin;

#[locks::lock("user")]
fn refresh(now: bool) -> Pin<Box<dyn Future<Output = ()>>> {
    if now {
        return Box::pin(async {});
    }
    Box::pin(async {})
}

fn main() {
    drop(refresh(true));
}
