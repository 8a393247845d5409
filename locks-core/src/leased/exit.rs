//! The end of the process: ends that are under way get a moment to reach the store (F47).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::fork;

/// For how long an exit waits at most.
const PATIENCE: Duration = Duration::from_millis(250);

/// How many ends are under way, in the low half, and in which generation of the process. One word,
/// so that a forked child finds no mutex locked and none of its parent's ends.
static UNDER_WAY: AtomicU64 = AtomicU64::new(0);

/// An end that has not been confirmed. The process does not exit for a moment while one lives.
#[derive(Debug)]
pub(super) struct Unconfirmed {
    generation: u64,
}

impl Unconfirmed {
    pub(super) fn new() -> Self {
        await_at_exit();
        let generation = u64::from(fork::generation()) << 32;
        change(|word| {
            let count = if word & !COUNT == generation { word & COUNT } else { 0 };
            Some(generation | (count + 1))
        });
        Self { generation }
    }
}

impl Drop for Unconfirmed {
    fn drop(&mut self) {
        change(|word| (word & !COUNT == self.generation).then(|| word - 1));
    }
}

const COUNT: u64 = u32::MAX as u64;

fn change(change: impl FnMut(u64) -> Option<u64>) {
    let _ = UNDER_WAY.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change);
}

#[cfg(unix)]
fn await_at_exit() {
    static REGISTERED: std::sync::Once = std::sync::Once::new();

    extern "C" fn wait() {
        let generation = u64::from(fork::generation()) << 32;
        let is_under_way = || {
            let word = UNDER_WAY.load(Ordering::SeqCst);
            word & !COUNT == generation && word & COUNT > 0
        };
        let begun = std::time::Instant::now();
        while is_under_way() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    REGISTERED.call_once(|| {
        // SAFETY: `wait` touches nothing but atomics, which live for ever. Where there is no room
        // for it, a process that exits leaves its unconfirmed ends to their leases.
        unsafe { libc::atexit(wait) };
    });
}

#[cfg(not(unix))]
fn await_at_exit() {
    let _ = PATIENCE;
}
