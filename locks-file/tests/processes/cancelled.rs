//! Row 8: an acquisition is dropped after any number of polls.

use std::time::Duration;

use locks_core::{Backend, LockBuilder};

use crate::directory::{Directory, until};
use crate::peer::Peer;
use crate::polled::Polled;

/// More polls than an acquisition has states.
const POLLS: usize = 12;

/// Polls `lock` this often, each time when it is woken or after `pause`; whether it was granted.
fn poll_and_drop(lock: LockBuilder<'static>, polls: usize, pause: Duration) -> bool {
    let mut pending = Polled::begin(lock);
    (0..polls).any(|_| pending.poll_for(pause).is_some())
}

/// Ways to ask for what another process has.
fn asks(backend: &Backend) -> [LockBuilder<'static>; 4] {
    let lock = || backend.named("k".to_owned());
    [
        lock(),
        lock().wait(Duration::from_secs(60)),
        lock().shared(),
        lock().steal_after(Duration::from_secs(600)),
    ]
}

#[test]
fn row_8_dropped_while_another_process_holds_it() {
    let directory = Directory::new();
    let (backend, [mut holder, mut next]) = (directory.backend(), Peer::start_many(&directory));
    for polls in 0..POLLS {
        for (ask, pause) in (0..4).flat_map(|ask| [(ask, 0), (ask, 3)]) {
            let held = holder.take("k", "");
            let lock = asks(&backend)[ask].clone();
            let granted = poll_and_drop(lock, polls, Duration::from_millis(pause));
            assert!(!granted, "granted beside another process");
            let waiting = next.begin("k", "");
            holder.release(held).unwrap();
            let held = waiting.granted();
            next.release(held).unwrap();
        }
    }
    directory.assert_closed(&["k"]);
}

/// Dropped at any moment of the grant: it is nobody's, or it is the caller's.
#[test]
fn row_8_dropped_while_it_is_being_granted() {
    let directory = Directory::new();
    let (backend, [mut holder, mut next]) = (directory.backend(), Peer::start_many(&directory));
    let mut grants = 0;
    for round in 0..60 {
        let held = holder.take("k", "");
        let mut pending = Polled::begin(backend.named("k"));
        assert!(pending.poll().is_none());
        holder.release(held).unwrap();
        let mut granted = None;
        for _ in 0..round % POLLS {
            granted = granted.or_else(|| pending.poll_for(Duration::from_micros(300)));
        }
        grants += u32::from(granted.is_some());
        drop((granted, pending));
        next.assert_free("k");
    }
    assert!(grants > 0, "it was never granted: the drop never raced");
    directory.assert_closed(&["k"]);
}

/// Several keys: what it has is given back wherever it was.
#[test]
fn row_8_dropped_with_some_of_its_keys() {
    let directory = Directory::new();
    let (backend, [mut holder, mut next]) = (directory.backend(), Peer::start_many(&directory));
    for polls in 0..POLLS {
        let held = holder.take("b", "");
        let lock = backend.all(["a", "b", "c"]);
        assert!(!poll_and_drop(lock, polls, Duration::from_millis(2)));
        next.assert_free("a");
        next.assert_free("c");
        holder.release(held).unwrap();
    }
    next.assert_free("b");
    directory.assert_closed(&["a", "b", "c"]);
}

/// What is kept within the process for a turn that does not come is given back soon (F6).
#[test]
fn row_8_what_is_kept_for_one_that_gives_up_is_given_back() {
    let directory = Directory::new();
    let (backend, [mut next]) = (directory.backend(), Peer::start_many(&directory));
    for polls in 1..POLLS {
        let held = backend.named("k").acquire().unwrap();
        let mut pending = Polled::begin(backend.named("k"));
        assert!((0..polls).all(|_| pending.poll().is_none()));
        let waiting = next.begin("k", "");
        // Its turn has come when it goes.
        held.release().unwrap();
        drop(pending);
        assert!(waiting.reply_within(Duration::from_secs(2)).is_some(), "F6: it is kept");
        let held = waiting.granted();
        next.release(held).unwrap();
    }
    directory.assert_closed(&["k"]);
}

/// Whoever stands behind one that gives up is served.
#[test]
fn row_8_who_is_next_is_woken() {
    let directory = Directory::new();
    let (backend, [mut holder]) = (directory.backend(), Peer::start_many(&directory));
    for polls in 0..POLLS {
        let held = holder.take("k", "");
        let mut first = Polled::begin(backend.named("k"));
        let first_granted = (0..polls.max(1)).any(|_| first.poll().is_some());
        assert!(!first_granted);
        let second = backend.clone();
        let second = std::thread::spawn(move || second.named("k").acquire().unwrap().token());
        if backend.about_listing() {
            until("the second waits", || waiters(&backend) >= 2);
        }
        drop(first);
        holder.release(held).unwrap();
        until("the second is served", || second.is_finished());
        second.join().unwrap();
    }
}

fn waiters(backend: &Backend) -> usize {
    backend.list().unwrap().iter().map(|info| info.waiters.len()).sum()
}

trait Lists {
    fn about_listing(&self) -> bool;
}

impl Lists for Backend {
    fn about_listing(&self) -> bool {
        let can = self.about().capabilities;
        can.listing && can.listing_waiters
    }
}
