#[locks::lock("user")]
fn refresh() {
    0
}

#[locks::lock("user")]
async fn refresh_async() {
    0
}

fn main() {
    refresh();
    drop(refresh_async());
}
