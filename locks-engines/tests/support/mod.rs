//! What the tests of all engines share: servers of their own, and other processes.
#![allow(dead_code, reason = "each test program needs some of it")]

pub(crate) mod certificates;
pub(crate) mod peer;
pub(crate) mod process;
pub(crate) mod slow;
pub(crate) mod storm;

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// For how long servers may take to answer, on a machine that is busy.
pub(crate) const BUSY: Duration = Duration::from_secs(30);

/// Waits until it holds.
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "it did not come to pass within a minute");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A port that nobody listens at. It may be taken before it is used: whoever starts a server there
/// tries again with another.
///
/// It is below those that systems give to connections: a server that is started anew at its port
/// finds no client there, which asked for it meanwhile.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(997);
    loop {
        let number = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(number % 20_000).expect("it is below 20,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Has a round of its own after another until one passes, of a few: where the machine stands still,
/// an answer that comes late costs a step more, a renewal comes between, and a lease runs out.
#[track_caller]
pub(crate) fn one_round_passes(round: impl Fn()) {
    for _ in 1..5 {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(&round)).is_ok() {
            return;
        }
    }
    round();
}
