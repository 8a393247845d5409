fn backend() -> Result<locks::Backend, locks::LockError> {
    locks::open("memory:")
}

#[locks::lock("user", backend = backend()?)]
fn refresh() -> Result<(), locks::LockError> {
    Ok(())
}

fn main() {
    drop(refresh());
}
