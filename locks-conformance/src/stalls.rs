//! Whether the machine kept this process waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Looks on, from its making until it is dropped, how late a thread is that sleeps and wakes.
pub(super) struct Stalls {
    /// The longest so far, in nanoseconds.
    longest: Arc<AtomicU64>,
    _until_dropped: Sender<()>,
}

/// How long the thread sleeps at a time.
const SLEEP: Duration = Duration::from_millis(5);

impl Stalls {
    pub(super) fn watch() -> Self {
        let longest = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&longest);
        let (sender, dropped) = channel();
        thread::spawn(move || {
            let mut asleep = Instant::now();
            while dropped.recv_timeout(SLEEP) == Err(RecvTimeoutError::Timeout) {
                let late = asleep.elapsed().saturating_sub(SLEEP);
                let late = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
                seen.fetch_max(late, Ordering::Relaxed);
                asleep = Instant::now();
            }
        });
        Self { longest, _until_dropped: sender }
    }

    pub(super) fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest.load(Ordering::Relaxed))
    }
}
