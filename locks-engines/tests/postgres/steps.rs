//! How many steps an operation takes at the server.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use locks_core::{Backend, Leased};

use super::server::{Server, schema, shared};
use super::support::{one_round_passes, until};

/// A server that writes each statement into its log.
struct Counted {
    server: Server,
    seen: Cell<usize>,
}

impl Counted {
    fn start() -> Self {
        let settings = ["fsync=off", "log_statement=all", "log_duration=off"];
        Self { server: Server::start_with(&settings), seen: Cell::new(0) }
    }

    fn client(&self) -> Backend {
        self.server.builder().build().expect("a client").into_backend()
    }

    /// How many steps were made since the last time this was asked.
    fn steps(&self) -> usize {
        let log = self.server.log();
        let is_step = |line: &&str| {
            let step = line.split(": SELECT ").nth(1).unwrap_or("");
            ["locks.claim_", "locks.end_", "locks.renew_"].iter().any(|name| step.starts_with(name))
        };
        let all = log.lines().filter(is_step).count();
        all - self.seen.replace(all)
    }

    /// Waits until so many steps were made since they were last counted, and no more than that.
    fn assert_steps(&self, expected: usize) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut made = self.steps();
        while made < expected && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
            made += self.steps();
        }
        assert_eq!(made, expected);
    }
}

#[test]
fn an_acquisition_is_one_step_and_a_release_another() {
    one_round_passes(|| {
        let server = Counted::start();
        let client = server.client();
        client.named("k").acquire().unwrap().release().unwrap();
        server.steps();
        let guard = client.named("k").acquire().unwrap();
        server.assert_steps(1);
        guard.release().unwrap();
        server.assert_steps(1);
        let guard = client.named("k").acquire().unwrap();
        server.assert_steps(1);
        assert!(server.client().named("k").wait(false).acquire().unwrap_err().is_contended());
        server.assert_steps(1);
        drop(guard);
        server.assert_steps(1);

        // Five keys.
        let guard = client.all(["a", "b", "c", "d", "e"]).acquire().unwrap();
        server.assert_steps(1);
        guard.release().unwrap();
        server.assert_steps(1);
    });
}

#[test]
fn a_hand_over_is_three_steps_and_a_waiter_asks_seldom() {
    one_round_passes(|| {
        let server = Counted::start();
        let (ours, theirs) = (server.client(), server.client());
        drop(theirs.named("other").acquire().unwrap());
        ours.named("k").acquire().unwrap().release().unwrap();
        let guard = ours.named("k").acquire().unwrap();
        server.assert_steps(5);
        let waits = theirs.clone();
        let waiter = thread::spawn(move || waits.named("k").acquire().unwrap().into_owned());
        // It asks once, and is placed.
        server.assert_steps(1);
        drop(guard);
        let got = waiter.join().unwrap();
        // The end, and the claim of the one that was called.
        server.assert_steps(2);

        let wait = Duration::from_secs(5);
        assert!(ours.named("k").wait(wait).acquire().is_err());
        // One each second at most, two renewals, the withdrawal.
        let steps = server.steps();
        assert!(steps <= 12, "{steps} steps in {wait:?}");
        drop(got);
    });
}

#[test]
fn whose_turn_it_is_is_called_and_need_not_look() {
    one_round_passes(|| {
        let schema = schema();
        let hour = Duration::from_secs(3600);
        let client = || {
            let store =
                shared().builder().schema(&schema).lease(hour).into_store().expect("a store");
            // Who is not called looks again in an hour.
            Leased::builder(store).lease(hour).poll(hour).build().into_backend()
        };
        let (ours, theirs) = (client(), client());
        let guard = ours.named("k").acquire().unwrap();
        let waiter = thread::spawn(move || {
            let wait = Duration::from_secs(60);
            theirs.named("k").wait(wait).acquire().map(|guard| guard.token())
        });
        until(|| ours.list().unwrap().iter().any(|lock| !lock.waiters.is_empty()));
        let token = guard.token();
        drop(guard);
        assert!(waiter.join().unwrap().expect("it was called") > token);
    });
}
