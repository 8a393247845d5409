use locks::block::lock;

fn sum(all: &[u8]) -> Result<u8, locks::LockError> {
    let mut sum = 0;
    lock!("ledger" => for n in all {
        if *n == 1 {
            continue;
        }
        sum += n;
    })?;
    Ok(sum)
}

fn main() {
    drop(sum(&[]));
}
