use std::future::Future;

#[locks::lock("user", wait = false)]
fn refresh() -> Option<impl Future<Output = u8>> {
    Some(async { 1 })
}

fn main() {
    drop(refresh());
}
