use std::rc::Rc;

#[locks::lock("user")]
async fn refresh(_count: Rc<u32>) {}

fn send(_: impl Send) {}

fn main() {
    send(refresh(Rc::new(1)));
}
