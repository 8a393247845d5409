#[locks::lock("user")]
fn refresh() -> u32 {}

#[locks::lock("user")]
async fn refresh_async() -> u32 {}

fn main() {
    refresh();
    drop(refresh_async());
}
