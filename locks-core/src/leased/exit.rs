//! The end of the process: ends that are under way get a moment to reach the store (F47).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::fork::PerProcess;

/// For how long an exit waits at most.
const PATIENCE: Duration = Duration::from_millis(250);

/// How many ends are under way. A forked child has none of its parent's.
static UNDER_WAY: PerProcess<Arc<AtomicUsize>> = PerProcess::new();

/// An end that the store has not confirmed. While one lives, the process does not exit for a
/// moment.
#[derive(Debug)]
pub(super) struct Unconfirmed(Arc<AtomicUsize>);

impl Unconfirmed {
    pub(super) fn new() -> Self {
        await_at_exit();
        let count = UNDER_WAY.get_or_init(Arc::default).clone();
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Unconfirmed {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(unix)]
fn await_at_exit() {
    use std::sync::atomic::AtomicBool;

    static REGISTERED: AtomicBool = AtomicBool::new(false);

    /// Looks from time to time: an exit may come from anywhere, and takes no mutex.
    extern "C" fn wait() {
        let is_under_way = || UNDER_WAY.get().is_some_and(|count| count.load(Ordering::SeqCst) > 0);
        let begun = std::time::Instant::now();
        while is_under_way() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    // A forked child has it from its parent.
    if !REGISTERED.swap(true, Ordering::SeqCst) {
        // SAFETY: `wait` touches nothing but what lives for ever. Where there is no room for it, a
        // process that exits leaves its unconfirmed ends to their leases.
        unsafe { libc::atexit(wait) };
    }
}

#[cfg(not(unix))]
fn await_at_exit() {
    let _ = PATIENCE;
}
