#![deny(unused_parens)]

#[locks::lock("user")]
fn refresh() -> u32 {
    (1)
}

#[locks::lock("user")]
async fn refresh_async() -> u32 {
    (1)
}

fn main() {
    refresh();
    drop(refresh_async());
}
