#![deny(unused_assignments)]

#[locks::lock("user")]
fn refresh() {
    let mut count = 1;
    std::hint::black_box(count);
    count = 2;
}

#[locks::lock("user")]
async fn refresh_async() {
    let mut count = 1;
    std::hint::black_box(count);
    count = 2;
}

fn main() {
    refresh();
    drop(refresh_async());
}
