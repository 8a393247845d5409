//! Rows 17 and 34: the connection ends after every byte of what two clients say and hear.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use locks_core::{Backend, ErrorKind, LockBuilder, LockError, OwnedGuard};

use crate::directory::PATIENCE;
use crate::place::{Place, Way, assert_nothing_left};
use crate::polled::Polled;
use crate::proxy::{Proxy, Towards};

/// For how long the server keeps what it has no connection for.
const LEASE: Duration = Duration::from_secs(2);

/// The keys of one run, and the greatest token of each that anybody has had.
struct Keys {
    names: [String; 3],
    tokens: [AtomicU64; 3],
}

impl Keys {
    fn new(run: u64) -> Self {
        let names = ["a", "b", "c"].map(|key| format!("{key}{run:04}"));
        Self { names, tokens: Default::default() }
    }

    fn lock(&self, backend: &Backend, key: usize) -> LockBuilder<'static> {
        backend.named(self.names[key].clone()).wait(PATIENCE)
    }

    /// A grant that nobody has had before.
    fn see(&self, key: usize, guard: OwnedGuard) -> OwnedGuard {
        let token = guard.token().get();
        let last = self.tokens[key].fetch_max(token, Ordering::Relaxed);
        assert!(last < token, "C7: {token} after {last} for `{}`", self.names[key]);
        guard
    }

    fn take(&self, backend: &Backend, key: usize) -> OwnedGuard {
        self.see(key, self.lock(backend, key).acquire().unwrap().into_owned())
    }

    fn contended(&self, backend: &Backend, key: usize) {
        let error = self.lock(backend, key).wait(false).acquire().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Contended, "{error:?}");
    }
}

/// What is said between the client whose connection is cut and the server. Whatever becomes of the
/// connection, all is as if nothing had happened to it.
fn exchange(keys: &Keys, cut: &Backend, other: &Backend) {
    let [a, b, c] = [0, 1, 2];
    let first = keys.take(cut, a);
    let reader = keys.see(b, keys.lock(cut, b).shared().acquire().unwrap().into_owned());
    keys.contended(other, a);
    keys.contended(other, b);
    // One that waits and gives up, behind which somebody waits.
    let theirs = keys.take(other, c);
    let mut pending = Polled::begin(keys.lock(cut, c));
    assert!(pending.poll().is_none(), "C1: `c` is held");
    pending.poll_for(Duration::from_millis(1));
    let mut next = Polled::begin(keys.lock(other, c).shared());
    assert!(next.poll().is_none(), "C1: `c` is held");
    drop(pending);
    theirs.release().unwrap();
    let theirs = keys.see(c, finish(&mut next).unwrap());
    reader.refresh().unwrap();
    // One that waits for what is released.
    let mut next = Polled::begin(keys.lock(other, a));
    assert!(next.poll().is_none(), "C1: `a` is held");
    first.check().unwrap();
    first.release().unwrap();
    let second = keys.see(a, finish(&mut next).unwrap());
    keys.contended(cut, a);
    // And one that waits for what they release.
    let mut third = Polled::begin(keys.lock(cut, a));
    assert!(third.poll().is_none(), "C1: `a` is held");
    second.check().unwrap();
    drop(second);
    let third = keys.see(a, finish(&mut third).unwrap());
    keys.contended(other, a);
    reader.check().unwrap();
    drop(reader);
    let writer = keys.take(cut, b);
    drop(writer);
    theirs.release().unwrap();
    third.release().unwrap();
    drop(keys.take(other, a));
    drop(keys.take(cut, b));
}

fn finish(pending: &mut Polled) -> Result<OwnedGuard, LockError> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(outcome) = pending.poll_for(Duration::from_millis(50)) {
            return outcome;
        }
    }
    panic!("row 17: it hangs");
}

/// A run for each byte, until one comes to its end before it is cut.
fn cut_everywhere(way: Way, towards: Towards) {
    let place = Place::with_limits(way, &format!("lease={}", LEASE.as_millis()));
    let _serving = place.start();
    let other = place.backend();
    let start = Instant::now();
    // Each waits for most of its time.
    let cuts = thread::scope(|threads| {
        let shards = [0, 1, 2, 3].map(|shard| {
            let (place, other) = (&place, &other);
            threads.spawn(move || {
                let proxy = Proxy::new(place);
                for run in (shard..).step_by(4) {
                    proxy.cut_after(towards, run);
                    let cut = Backend::new(proxy.told().client());
                    exchange(&Keys::new(run), &cut, other);
                    if !proxy.has_cut() {
                        return run;
                    }
                }
                unreachable!("no exchange is endless");
            })
        });
        shards.map(|shard| shard.join().unwrap())
    });
    let cuts = cuts.into_iter().min().unwrap();
    eprintln!("{way:?}, towards the {towards:?}: {cuts} cuts in {:?}", start.elapsed());
    assert!(cuts > 300, "the exchange has {cuts} bytes only");
    // Whatever was left in spite of all is found here.
    assert_nothing_left(&place.client());
}

#[test]
fn row_17_cut_after_every_byte_from_a_client_on_a_unix_socket() {
    cut_everywhere(Way::Unix, Towards::Server);
}

#[test]
fn row_17_cut_after_every_byte_to_a_client_on_a_unix_socket() {
    cut_everywhere(Way::Unix, Towards::Client);
}

#[test]
fn row_17_cut_after_every_byte_from_a_client_over_tcp() {
    cut_everywhere(Way::Tcp, Towards::Server);
}

#[test]
fn row_17_cut_after_every_byte_to_a_client_over_tcp() {
    cut_everywhere(Way::Tcp, Towards::Client);
}

/// The connection ends after so many bytes, and no other comes about: what the client had is free
/// when its session ends, and until then it is nobody else's. All at once, since each takes that
/// long.
fn cut_for_good(way: Way, towards: Towards) {
    let place = Place::with_limits(way, "lease=1000");
    let _serving = place.start();
    let other = place.backend();
    // Up to where it holds the key, behind TLS where there is some.
    let step = if way == Way::Tcp { 80 } else { 19 };
    let held = AtomicU64::new(0);
    thread::scope(|threads| {
        for run in 0..24 {
            let (place, other, held) = (&place, &other, &held);
            threads.spawn(move || {
                let (proxy, keys) = (Proxy::new(place), Keys::new(run));
                proxy.cut_for_good_after(towards, run * step + 80);
                let client = proxy.told().client_within(Duration::from_secs(2)).unwrap();
                let cut = Backend::new(client);
                let wait = Duration::from_secs(1);
                // Whatever it is told, it comes to an end.
                let outcome = keys.lock(&cut, 0).wait(wait).acquire();
                let told = outcome.as_ref().err().map(ToString::to_string);
                let guard = outcome.ok().map(|guard| keys.see(0, guard.into_owned()));
                let start = Instant::now();
                while !proxy.has_cut() {
                    let refreshed = guard.as_ref().map(OwnedGuard::refresh);
                    assert!(refreshed.is_some(), "not cut, and refused: {told:?}");
                    assert!(start.elapsed() < PATIENCE, "row 17: it hangs");
                }
                let asked = Instant::now();
                let next = keys.take(other, 0);
                let kept = asked.elapsed();
                assert!(kept < PATIENCE, "row 34: an orphan for {kept:?}");
                if let Some(guard) = guard {
                    held.fetch_add(1, Ordering::Relaxed);
                    let error = guard.check().expect_err("C8: it is somebody else's");
                    assert!(error.is_lost(), "{error:?}");
                    assert!(guard.release().is_err_and(|error| error.is_lost()), "C8");
                }
                next.check().unwrap();
            });
        }
    });
    let held = held.into_inner();
    assert!((1..24).contains(&held), "{held} of 24 have held it: the cuts lie elsewhere");
    assert_nothing_left(&place.client());
}

#[test]
fn row_34_cut_for_good_on_a_unix_socket() {
    cut_for_good(Way::Unix, Towards::Server);
    cut_for_good(Way::Unix, Towards::Client);
}

#[test]
fn row_34_cut_for_good_over_tcp() {
    cut_for_good(Way::Tcp, Towards::Server);
    cut_for_good(Way::Tcp, Towards::Client);
}
