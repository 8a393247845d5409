#[locks::lock("user", on_lost = "cancel")]
fn refresh() -> Result<(), locks::LockError> {
    Ok(())
}

fn main() {
    let _ = refresh();
}
