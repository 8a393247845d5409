//! Several locks at once: in one request they cannot deadlock, one by one they can.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use locks::{ErrorKind, LockError, lock};

static TRANSFERS: AtomicU64 = AtomicU64::new(0);

/// Both keys in one request: all or none, and taken in one order by everybody.
#[lock("account_{from}", "account_{to}")]
fn transfer(from: u32, to: u32) {
    let so_far = TRANSFERS.load(Ordering::Relaxed);
    TRANSFERS.store(so_far + 1, Ordering::Relaxed); // Nobody comes in between.
}

fn main() -> Result<(), LockError> {
    // Two threads, opposite directions, at the same time.
    let start = Barrier::new(2);
    thread::scope(|threads| {
        for (from, to) in [(1, 2), (2, 1)] {
            let start = &start;
            threads.spawn(move || {
                start.wait();
                (0..10_000).for_each(|_| transfer(from, to));
            });
        }
    });
    println!("{} transfers in both directions, and no deadlock", TRANSFERS.load(Ordering::Relaxed));
    assert_eq!(TRANSFERS.load(Ordering::Relaxed), 20_000);

    // The same by hand. One guard, one token, released together.
    let guard = locks::all(["account_7", "account_3"]).acquire()?;
    assert!(locks::named("account_3").wait(false).acquire().unwrap_err().is_contended());
    drop(guard);
    drop(locks::named("account_3").wait(false).acquire()?);

    // One by one and in opposite orders: both would wait for ever. One of them is told so, gives
    // back what it has, and the other goes on.
    let has_one = Barrier::new(2);
    let one_by_one = |first: &str, second: &str| {
        let _first = locks::named(first).acquire()?;
        has_one.wait();
        let _second = locks::named(second).acquire()?;
        Ok::<_, LockError>(())
    };
    let outcomes = thread::scope(|threads| {
        let there = threads.spawn(|| one_by_one("left", "right"));
        let back = threads.spawn(|| one_by_one("right", "left"));
        [there.join().unwrap(), back.join().unwrap()]
    });
    let deadlocks = outcomes.into_iter().filter_map(Result::err).collect::<Vec<_>>();
    println!("one by one: {}", deadlocks[0]);
    assert_eq!(deadlocks.len(), 1);
    assert_eq!(deadlocks[0].kind(), ErrorKind::Deadlock);
    Ok(())
}
