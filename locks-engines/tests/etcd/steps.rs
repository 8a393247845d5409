//! How many steps an operation takes at the server.
//!
//! A step is a call that changes or reads keys, or makes or ends a lease. Beside them go
//! keep-alives, on one stream, and at the start a second of looks at the clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use locks_core::Backend;

use super::server::Server;

const STEPS: [&str; 6] = ["Txn", "Range", "Put", "DeleteRange", "LeaseGrant", "LeaseRevoke"];

struct Counted {
    server: Server,
    before: AtomicU64,
}

impl Counted {
    fn start() -> Self {
        Self { server: Server::start(), before: AtomicU64::new(0) }
    }

    /// A client that has a lease already.
    fn client(&self) -> Backend {
        let client = self.server.client("steps");
        client.named("k").acquire().unwrap().release().unwrap();
        client
    }

    fn steps(&self) -> u64 {
        let all = self.server.calls(&STEPS);
        all - self.before.swap(all, Ordering::Relaxed)
    }

    /// Waits until so many steps were made since they were last counted; to how many there were.
    fn reached(&self, expected: u64) -> u64 {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut made = self.steps();
        while made < expected && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
            made += self.steps();
        }
        made
    }
}

/// Has `round` count its steps until they are those expected, and never fewer: on a machine that
/// stands still, an answer that comes late costs a step more, and a renewal comes between.
#[track_caller]
fn assert_steps<const N: usize>(expected: [u64; N], mut round: impl FnMut() -> [u64; N]) {
    let mut counted = [0; N];
    for _ in 0..20 {
        counted = round();
        if counted == expected {
            return;
        }
    }
    panic!("{counted:?} steps instead of {expected:?}");
}

#[test]
fn an_acquisition_is_one_step_and_a_release_another() {
    let counted = Counted::start();
    let (client, other) = (counted.client(), counted.client());
    assert_steps([1, 1, 1], || {
        counted.steps();
        let guard = client.named("k").acquire().unwrap();
        let acquired = counted.reached(1);
        assert!(other.named("k").wait(false).acquire().unwrap_err().is_contended());
        let refused = counted.reached(1);
        guard.release().unwrap();
        [acquired, refused, counted.reached(1)]
    });
}

#[test]
fn claims_in_a_row_keep_their_lease_alive_once_a_second() {
    let counted = Counted::start();
    let client = counted.client();
    let (before, begun) = (counted.server.messages("LeaseKeepAlive"), Instant::now());
    for _ in 0..200 {
        client.named("k").acquire().unwrap().release().unwrap();
    }
    let (kept, seconds) = (counted.server.messages("LeaseKeepAlive") - before, begun.elapsed());
    assert!(kept <= 1 + seconds.as_secs(), "{kept} in {seconds:?}");
}

#[test]
fn five_keys_are_one_step() {
    let counted = Counted::start();
    let client = counted.client();
    assert_steps([1, 1], || {
        counted.steps();
        let guard = client.all(["a", "b", "c", "d", "e"]).acquire().unwrap();
        let acquired = counted.reached(1);
        guard.release().unwrap();
        [acquired, counted.reached(1)]
    });
    assert_eq!(client.list().unwrap().len(), 0);
}

#[test]
fn a_hand_over_between_clients_is_three_steps() {
    let counted = Counted::start();
    let (ours, theirs) = (counted.client(), counted.client());
    assert_steps([1, 2], || {
        let guard = ours.named("k").acquire().unwrap();
        counted.steps();
        let theirs = theirs.clone();
        let waiter = thread::spawn(move || theirs.named("k").acquire().unwrap().into_owned());
        // It asks once, and is placed.
        let asked = counted.reached(1);
        drop(guard);
        let got = waiter.join().unwrap();
        // The end, and the claim of the one that was called.
        let handed_over = counted.reached(2);
        got.release().unwrap();
        [asked, handed_over]
    });
}

#[test]
fn ten_seconds_of_waiting_are_twelve_steps_at_most() {
    let counted = Counted::start();
    let (ours, theirs) = (counted.client(), counted.client());
    let guard = ours.named("k").acquire().unwrap();
    counted.steps();
    let (wait, begun) = (Duration::from_secs(10), Instant::now());
    assert!(theirs.named("k").wait(wait).acquire().is_err());
    let steps = counted.steps();
    // The holder renews its lease, which is of ten seconds, at each third of it, and the waiter
    // takes its place away.
    let besides = 3 * begun.elapsed().as_secs().div_ceil(10) + 1;
    assert!(steps <= 12 + besides, "{steps} steps in {wait:?}");
    drop(guard);
}
