#[locks::lock("user", on_lost = "error")]
#[track_caller]
fn refresh() -> Result<u32, locks::LockError> {
    Ok(std::panic::Location::caller().line())
}

fn main() {
    drop(refresh());
}
