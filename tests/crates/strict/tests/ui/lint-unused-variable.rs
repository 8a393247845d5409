#![deny(unused_variables)]

#[locks::lock("user")]
fn refresh(argument: u32) {
    let local = 1;
}

#[locks::lock("user")]
async fn refresh_async(argument: u32) {
    let local = 1;
}

#[locks::lock("user", on_lost = "error")]
fn refresh_or_tell(argument: u32, used: u32, too: u32) -> Result<u32, locks::LockError> {
    Ok(used + too)
}

fn main() {
    refresh(1);
    let _ = refresh_or_tell(1, 2, 3);
    drop(refresh_async(1));
}
