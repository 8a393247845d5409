#![deny(unused_must_use)]

#[locks::lock("user")]
#[must_use]
fn refresh() -> u32 {
    std::fs::remove_file("user");
    1
}

#[locks::lock("user")]
async fn refresh_async() {
    std::fs::remove_file("user");
}

fn main() {
    refresh();
    refresh_async();
}
