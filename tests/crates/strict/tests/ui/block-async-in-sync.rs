use locks::block::lock;

fn work() -> Result<u8, locks::LockError> {
    lock!(async "user" => { 1 })
}

fn main() {
    let _ = work();
}
