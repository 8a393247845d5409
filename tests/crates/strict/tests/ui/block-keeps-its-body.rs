use locks::block::lock;

fn add(user: &str) -> Result<u8, locks::LockError> {
    for n in 0..3 {
        let sum: u8 = lock!("ledger", bogus = 5 => {
            if n == 1 {
                continue;
            }
            // Told of as well, as the body is there to be read.
            user.length()
        })?;
        return Ok(sum);
    }
    Ok(0)
}

fn main() {
    drop(add(""));
}
