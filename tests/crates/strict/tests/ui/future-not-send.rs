use std::rc::Rc;

#[locks::lock("user")]
async fn refresh() {
    let count = Rc::new(1);
    std::future::ready(()).await;
    drop(count);
}

fn send(_: impl Send) {}

fn main() {
    send(refresh());
}
