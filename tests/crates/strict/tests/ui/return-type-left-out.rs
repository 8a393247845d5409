#[locks::lock("user")]
fn number() -> _ {
    5_u8
}

#[locks::lock("user", wait = false)]
async fn some() -> Option<_> {
    Some(5_u8)
}

fn main() {
    number();
    drop(some());
}
