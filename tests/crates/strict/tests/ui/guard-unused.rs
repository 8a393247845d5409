#![deny(unused_must_use)]

fn main() -> Result<(), locks::LockError> {
    locks::named("user").acquire()?;
    Ok(())
}
