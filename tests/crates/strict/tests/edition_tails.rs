//! Temporaries of a body's last expression end where the body's own edition says.
use std::cell::RefCell;

#[locks::lock("tail")]
fn tail() -> usize {
    let c = RefCell::new(vec![1]);
    c.borrow().len()
}

#[locks::lock("tail")]
async fn tail_async() -> usize {
    let c = RefCell::new(vec![1]);
    c.borrow().len()
}

fn main() {
    assert_eq!(tail(), 1);
    drop(tail_async());
    let len = locks::block::lock!("tail" => {
        let c = RefCell::new(vec![1]);
        c.borrow().len()
    });
    assert_eq!(len.ok(), Some(1));
}
