//! Whether the machine kept this process waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Looks on, from its making until it is dropped, how late a thread is that sleeps and wakes.
///
/// What a waiter is called by passes through several threads and processes, each of which is as
/// late: so the delays within a [`WINDOW`] count together.
pub(super) struct Stalls {
    /// The most of any window so far, in nanoseconds.
    most: Arc<AtomicU64>,
    _until_dropped: Sender<()>,
}

/// How long the thread sleeps at a time.
const SLEEP: Duration = Duration::from_millis(5);

/// In which time delays add up.
const WINDOW: Duration = Duration::from_millis(250);

impl Stalls {
    pub(super) fn watch() -> Self {
        let most = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&most);
        let (sender, dropped) = channel();
        thread::spawn(move || {
            let mut asleep = Instant::now();
            let (mut window, mut late) = (asleep, Duration::ZERO);
            while dropped.recv_timeout(SLEEP) == Err(RecvTimeoutError::Timeout) {
                let now = Instant::now();
                late += now.duration_since(asleep).saturating_sub(SLEEP);
                seen.fetch_max(
                    u64::try_from(late.as_nanos()).unwrap_or(u64::MAX),
                    Ordering::Relaxed,
                );
                if now.duration_since(window) > WINDOW {
                    (window, late) = (now, Duration::ZERO);
                }
                asleep = now;
            }
        });
        Self { most, _until_dropped: sender }
    }

    /// The most that the thread was late within a window.
    pub(super) fn most(&self) -> Duration {
        Duration::from_nanos(self.most.load(Ordering::Relaxed))
    }
}
