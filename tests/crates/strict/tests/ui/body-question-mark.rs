#[locks::lock("user")]
async fn refresh() -> Result<u32, locks::LockError> {
    Ok("1".parse::<u32>()?)
}

fn main() {
    drop(refresh());
}
