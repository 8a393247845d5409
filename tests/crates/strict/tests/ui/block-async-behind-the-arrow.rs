use std::future::ready;

use locks::block::lock;

async fn work() -> Result<u8, locks::LockError> {
    lock!("user" => async move { ready(1).await }).await
}

fn main() {
    drop(work());
}
