//! How many steps an operation takes at the server.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use locks_core::Backend;

use super::server::Server;
use super::support::one_round_passes;

impl Server {
    fn client(&self) -> Backend {
        self.builder().build().expect("a client").into_backend()
    }

    /// How many scripts were called since the last time this was asked.
    fn steps(&self) -> u64 {
        let stats = self.command(&["INFO", "commandstats"]);
        let calls = |line: &str| {
            let rest = line.strip_prefix("cmdstat_eval")?;
            let (_, rest) = rest.split_once(":calls=")?;
            rest.split(',').next()?.parse::<u64>().ok()
        };
        let all = stats.lines().filter_map(calls).sum::<u64>();
        all - self.counted.swap(all, Ordering::Relaxed)
    }

    /// Waits until so many steps were made since they were last counted, and no more than that.
    fn assert_steps(&self, expected: u64) {
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
        let server = Server::start();
        let client = server.client();
        // The first one loads the script.
        drop(client.named("k").acquire().unwrap());
        client.named("k").acquire().unwrap().release().unwrap();
        server.steps();
        let guard = client.named("k").acquire().unwrap();
        server.assert_steps(1);
        guard.release().unwrap();
        server.assert_steps(1);
        let refused = client.named("k").acquire().unwrap();
        server.assert_steps(1);
        assert!(server.client().named("k").wait(false).acquire().unwrap_err().is_contended());
        // A client's own first call is told that the script is known, or not.
        server.assert_steps(1);
        drop(refused);
        server.assert_steps(1);
    });
}

#[test]
fn five_keys_are_one_step() {
    one_round_passes(|| {
        let server = Server::start();
        let client = server.client();
        drop(client.named("k").acquire().unwrap());
        client.named("k").acquire().unwrap().release().unwrap();
        server.steps();
        let guard = client.all(["a", "b", "c", "d", "e"]).acquire().unwrap();
        server.assert_steps(1);
        guard.release().unwrap();
        server.assert_steps(1);
        assert_eq!(client.list().unwrap().len(), 0);
    });
}

#[test]
fn a_hand_over_between_clients_is_three_steps() {
    one_round_passes(|| {
        let server = Server::start();
        let (ours, theirs) = (server.client(), server.client());
        drop(theirs.named("k").acquire().unwrap());
        ours.named("k").acquire().unwrap().release().unwrap();
        let guard = ours.named("k").acquire().unwrap();
        server.steps();
        let waiter = thread::spawn(move || theirs.named("k").acquire().unwrap().into_owned());
        // It asks once, and is placed.
        server.assert_steps(1);
        drop(guard);
        let got = waiter.join().unwrap();
        // The end, and the claim of the one that was called.
        server.assert_steps(2);
        drop(got);
    });
}

#[test]
fn a_waiter_that_was_placed_asks_seldom() {
    one_round_passes(|| {
        let server = Server::start();
        let (ours, theirs) = (server.client(), server.client());
        let guard = ours.named("k").acquire().unwrap();
        server.steps();
        let wait = Duration::from_secs(5);
        assert!(theirs.named("k").wait(wait).acquire().is_err());
        // One each second at most, two renewals, the withdrawal.
        let steps = server.steps();
        assert!(steps <= 12, "{steps} steps in {wait:?}");
        drop(guard);
    });
}
