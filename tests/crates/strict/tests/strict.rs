//! Under the strictest lints, warnings are errors and nothing may be allowed.
#![forbid(unsafe_code, unused, warnings, clippy::all, clippy::pedantic)]
#![deny(missing_docs, unreachable_pub, single_use_lifetimes, unused_qualifications)]
#![deny(elided_lifetimes_in_paths, let_underscore_drop, missing_debug_implementations)]

use std::time::Duration;

use locks::block::lock;

struct User {
    id: u32,
}

#[locks::lock("user_{user.id}", wait = false, steal_after = "5s")]
async fn refresh(user: &User) -> Result<u32, locks::LockError> {
    std::future::ready(()).await;
    Ok(user.id)
}

#[locks::lock("user", "other", wait = Duration::from_millis(5), guard = held)]
fn both() -> Option<u64> {
    held.check().ok()?;
    Some(held.token().get())
}

#[locks::lock("user", on_lost = "error")]
fn told() -> Result<&'static str, Box<dyn std::error::Error>> {
    Ok("told")
}

#[locks::lock("user", otherwise = 5)]
fn otherwise() -> u8 {
    let n = 4;
    n + 1
}

#[locks::lock("never")]
fn never() -> ! {
    std::process::exit(0)
}

#[locks::lock("never_async")]
async fn never_async() -> ! {
    std::future::pending().await
}

fn block() -> Result<u32, locks::LockError> {
    let a = lock!("ledger" => { 1 + 1 })?;
    let b = lock!("ledger", shared, { 2 })?;
    Ok(a + b)
}

async fn block_async() -> Result<u32, locks::LockError> {
    let n = 3;
    lock!(async "ledger_{n}" => { std::future::ready(n).await })
}

fn leaves() -> u8 {
    for n in 0..3 {
        let Ok(()) = lock!("ledger" => {
            if n == 1 {
                continue;
            }
            return n;
        }) else {
            break;
        };
    }
    7
}

fn main() {
    drop(refresh(&User { id: 1 }));
    drop(never_async());
    drop(block_async());
    assert!(both().is_some() && told().is_ok());
    assert_eq!(otherwise(), 5);
    assert_eq!(block().ok(), Some(4));
    assert_eq!(leaves(), 0);
    never();
}
