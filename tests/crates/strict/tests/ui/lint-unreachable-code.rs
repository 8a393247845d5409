#![deny(unreachable_code)]

#[locks::lock("user")]
fn refresh() -> u32 {
    return 1;
    2
}

#[locks::lock("user")]
async fn refresh_async() -> u32 {
    return 1;
    2
}

fn main() {
    refresh();
    drop(refresh_async());
}
