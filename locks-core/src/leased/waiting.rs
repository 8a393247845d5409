use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::clock::sleep;
use crate::sync::plain::Mutex;
use crate::{AcquisitionId, Clock, Moment, Wake};

/// The requests that may have to ask the store again, by key.
#[derive(Debug, Default)]
pub(super) struct Waiters(Mutex<HashMap<String, Vec<Arc<WaitingClaim>>>>);

#[derive(Debug)]
struct WaitingClaim {
    id: AcquisitionId,
    hinted: TaskSignal,
}

/// A request among the waiters of its keys; dropping it leaves.
#[derive(Debug)]
pub(super) struct ClaimWaiter<'w> {
    waiters: &'w Waiters,
    keys: &'w [String],
    waiting: Arc<WaitingClaim>,
}

/// Something that happens, for one task that waits for it.
#[derive(Debug, Default)]
pub(super) struct TaskSignal {
    raised: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl TaskSignal {
    pub(super) fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether it was raised since it was last asked; if not, the task is woken when it is.
    fn take(&self, cx: &Context<'_>) -> bool {
        let before = self.waker.lock().replace(cx.waker().clone());
        drop(before);
        self.raised.swap(false, Ordering::SeqCst)
    }
}

/// What `future` comes to, or `None` if `signal` is raised before.
pub(super) async fn unless<F: Future>(signal: &TaskSignal, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if signal.take(cx) {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

impl Waiters {
    pub(super) fn join<'w>(&'w self, keys: &'w [String], id: AcquisitionId) -> ClaimWaiter<'w> {
        let waiting = Arc::new(WaitingClaim { id, hinted: TaskSignal::default() });
        let mut waiters = self.0.lock();
        for key in keys {
            waiters.entry(key.clone()).or_default().push(waiting.clone());
        }
        ClaimWaiter { waiters: self, keys, waiting }
    }

    /// Whether this is a waiter of this process.
    pub(super) fn knows(&self, key: &str, id: AcquisitionId) -> bool {
        let waiters = self.0.lock();
        waiters.get(key).is_some_and(|waiting| waiting.iter().any(|waiting| waiting.id == id))
    }

    /// Has those whom the hint concerns ask again.
    pub(super) fn hint(&self, wake: &Wake) {
        let concerned = {
            let waiters = self.0.lock();
            match wake {
                Wake::Key(key) => waiters.get(key).cloned().unwrap_or_default(),
                Wake::Any | Wake::Waiters => waiters.values().flatten().cloned().collect(),
            }
        };
        Present(concerned).hint();
    }

    /// Returns those who wait for one of these keys now.
    pub(super) fn present(&self, keys: &[String]) -> Present {
        let waiters = self.0.lock();
        Present(keys.iter().filter_map(|key| waiters.get(key)).flatten().cloned().collect())
    }
}

/// Those who waited at some time, whether or not they still do.
#[derive(Default)]
pub(super) struct Present(Vec<Arc<WaitingClaim>>);

impl Present {
    /// Has each of them ask again.
    pub(super) fn hint(self) {
        each(self.0, |waiting| waiting.hinted.raise());
    }
}

impl ClaimWaiter<'_> {
    /// Resolves at `until`, or at a hint.
    pub(super) async fn pause(&self, clock: &dyn Clock, until: Moment) {
        unless(&self.waiting.hinted, sleep(clock, until)).await;
    }
}

impl Drop for ClaimWaiter<'_> {
    fn drop(&mut self) {
        let mut waiters = self.waiters.0.lock();
        for key in self.keys {
            if let Some(waiting) = waiters.get_mut(key) {
                waiting.retain(|waiting| !Arc::ptr_eq(waiting, &self.waiting));
                if waiting.is_empty() {
                    waiters.remove(key);
                }
            }
        }
    }
}

/// Calls `act` for all of them, also if it panics for one; the first panic is resumed then, unless
/// one is under way.
pub(super) fn each<T>(items: impl IntoIterator<Item = T>, mut act: impl FnMut(T)) {
    let mut panicked = None;
    for item in items {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| act(item))) {
            panicked.get_or_insert(panic);
        }
    }
    if let Some(panic) = panicked
        && !std::thread::panicking()
    {
        resume_unwind(panic);
    }
}

/// How long to wait before asking again: longer each time up to a bound, and by chance a quarter
/// more or less, so that two who were refused together do not stay in step.
#[derive(Debug)]
pub(super) struct Backoff {
    pause: Duration,
    longest: Duration,
    chance: u64,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration, id: AcquisitionId) -> Self {
        let chance = (id.get() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        Self { pause: first.min(longest), longest, chance }
    }

    pub(super) fn next(&mut self) -> Duration {
        // xorshift: any spread will do, and it needs no state of its own elsewhere.
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        let quarters = 768 + (self.chance >> 32) as u32 % 512;
        let pause = self.pause * quarters / 1024;
        self.pause = (self.pause * 3 / 2).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    #[test]
    fn a_hint_is_not_missed_between_two_pauses() {
        let (waiters, clock) = (Waiters::default(), ManualClock::new());
        let keys = ["a".to_owned()];
        let waiter = waiters.join(&keys, AcquisitionId::new(1));
        waiters.hint(&Wake::Key("b".into()));
        let poll = |until| {
            let mut pause = std::pin::pin!(waiter.pause(&clock, until));
            pause.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        };
        let later = clock.now().after(Duration::from_secs(9));
        assert!(poll(later).is_pending());
        waiters.hint(&Wake::Key("a".into()));
        assert!(poll(later).is_ready());
        assert!(poll(later).is_pending(), "a hint is good for one look");
        waiters.hint(&Wake::Any);
        assert!(poll(later).is_ready());
        assert!(poll(clock.now()).is_ready());
        drop(waiter);
        assert!(waiters.0.lock().is_empty());
    }

    #[test]
    fn pauses_grow_to_their_bound_and_differ() {
        let longest = Duration::from_millis(50);
        let pauses = |id| {
            let mut backoff = Backoff::new(Duration::from_millis(1), longest, id);
            (0..40).map(|_| backoff.next()).collect::<Vec<_>>()
        };
        let (one, two) = (pauses(AcquisitionId::new(1)), pauses(AcquisitionId::new(2)));
        assert_ne!(one, two);
        assert!(one[0] <= Duration::from_micros(1250));
        for pause in &one[15..] {
            assert!(*pause >= longest * 3 / 4 && *pause <= longest * 5 / 4, "{pause:?}");
        }
    }
}
