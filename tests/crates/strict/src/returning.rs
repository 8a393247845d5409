//! Functions that say `return`, as `clippy::implicit_return` wants it (tokio-rs/tracing 3485,
//! rust-lang/rust-clippy 16676).
#![deny(clippy::implicit_return)]
#![expect(clippy::needless_return, reason = "the two lints exclude each other")]

use std::pin::Pin;

use locks::LockError;
use locks::block::lock;

/// Nothing.
#[locks::lock("returning")]
pub fn nothing() {}

/// Nothing, later.
#[locks::lock("returning")]
pub async fn nothing_async() {
    std::future::ready(()).await;
}

/// A value.
#[locks::lock("returning_{n}", wait = false)]
#[must_use]
pub fn value(n: u8) -> Option<u8> {
    return n.checked_add(1);
}

/// A value, later.
#[locks::lock("returning_{n}", wait = false, guard = held)]
pub async fn value_async(n: u8) -> Option<u64> {
    std::future::ready(()).await;
    return held.token().get().checked_add(u64::from(n));
}

/// A value, or what became of the lock.
///
/// # Errors
/// Lost.
#[locks::lock("returning", on_lost = "error", otherwise = |_| return Ok(3))]
pub fn told() -> Result<u8, LockError> {
    return Ok(1);
}

/// The same, later.
///
/// # Errors
/// Lost.
#[locks::lock("returning", on_lost = "cancel", otherwise = Ok(2))]
pub async fn cancelled() -> Result<u8, LockError> {
    std::future::ready(()).await;
    return Ok(1);
}

/// A future.
#[locks::lock("returning_{n}")]
#[must_use]
pub fn boxed(n: u8) -> Pin<Box<dyn Future<Output = u8> + Send>> {
    return Box::pin(async move {
        std::future::ready(()).await;
        return n;
    });
}

/// A block.
///
/// # Errors
/// Contended.
pub fn block(n: u8) -> Result<Option<u8>, LockError> {
    return lock!("returning", wait = false => { n.checked_add(1) });
}
