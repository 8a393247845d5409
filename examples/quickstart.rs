//! The attribute, contention, and a steal.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use locks::{LockError, lock};

/// At most one refresh per user runs at a time; whoever comes second is told so.
#[lock("refresh_{user}", wait = false, guard = guard)]
fn refresh(user: &str, work: impl FnOnce()) -> Result<(), LockError> {
    work();
    guard.check() // Fails if the lock was taken over meanwhile.
}

fn main() -> Result<(), LockError> {
    refresh("ann", || println!("refreshed"))?;

    // A refresh that hangs, on another thread.
    let (started, is_started) = channel();
    let (end, ended): (_, Receiver<()>) = channel();
    let hang = move || {
        started.send(()).unwrap();
        let _ = ended.recv();
    };
    let stuck = thread::spawn(|| refresh("ann", hang));
    is_started.recv().unwrap();

    let contended = refresh("ann", || unreachable!()).unwrap_err();
    println!("contended: {contended}");
    refresh("bob", || println!("another user is another lock"))?;

    // What has been held for 200 ms is taken to be stuck, and is taken over.
    let thief = locks::named("refresh_ann").steal_after(Duration::from_millis(200)).acquire()?;
    println!("taken over, with token {}", thief.token());
    drop(end);
    let lost = stuck.join().unwrap().unwrap_err();
    println!("the one that hung: {lost}");
    assert!(contended.is_contended() && lost.is_lost());
    Ok(())
}
