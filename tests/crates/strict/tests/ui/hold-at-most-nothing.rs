use locks::LockError;
use locks::block::lock;

#[locks::lock("k", hold_at_most = "0s")]
fn held() -> Result<(), LockError> {
    Ok(())
}

fn main() {
    let _ = held();
    let _: Result<(), LockError> = lock!("k", hold_at_most = "0ms" => {});
}
