//! Fencing tokens: a holder whose lock was taken over cannot spoil what its successor wrote.
//!
//! Between the steal and the moment when the victim hears of it, both believe that they hold the
//! lock; no lock can prevent that. What can is a store that remembers the greatest token it has
//! seen and refuses smaller ones.

use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use locks::{LockError, Token};

/// A store that a holder writes to: a table, a bucket, a device.
#[derive(Default)]
struct Store(Mutex<(Option<Token>, String)>);

#[derive(Debug, PartialEq)]
struct Stale {
    offered: Token,
    seen: Token,
}

impl Store {
    fn write(&self, token: Token, text: &str) -> Result<(), Stale> {
        let mut inside = self.0.lock().unwrap();
        match inside.0 {
            Some(seen) if token < seen => return Err(Stale { offered: token, seen }),
            _ => *inside = (Some(token), text.to_owned()),
        }
        Ok(())
    }
}

fn main() -> Result<(), LockError> {
    let store = &Store::default();
    let (held, wait_until_held) = mpsc::channel();
    let (wake, wait_until_woken) = mpsc::channel::<()>();
    thread::scope(|threads| {
        let slow = threads.spawn(move || {
            let guard = locks::named("report").acquire()?;
            held.send(guard.token()).unwrap();
            let _ = wait_until_woken.recv(); // A long pause: swapped out, suspended, debugged.
            let written = store.write(guard.token(), "written by the slow one");
            Ok::<_, LockError>((guard.is_lost(), written))
        });
        let first = wait_until_held.recv().unwrap();

        // Takes the lock over as soon as it has been held for 100 ms.
        let guard = locks::named("report").steal_after(Duration::from_millis(100)).acquire()?;
        store.write(guard.token(), "written by the successor").unwrap();
        println!("token {first} was stolen, its successor has {}", guard.token());
        let second = guard.token();

        drop(wake);
        let (lost, written) = slow.join().unwrap()?;
        println!("the slow one's write: {written:?}; its guard is lost: {lost}");
        assert_eq!(written, Err(Stale { offered: first, seen: second }));
        assert!(lost);
        Ok::<_, LockError>(())
    })?;
    assert_eq!(store.0.lock().unwrap().1, "written by the successor");
    Ok(())
}
