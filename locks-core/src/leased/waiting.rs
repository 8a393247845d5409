use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::clock::alarm;
use crate::sync::plain::Mutex;
use crate::{AcquisitionId, Clock, Moment, Wake};

/// Those who were refused and mean to ask again, by key.
#[derive(Debug, Default)]
pub(super) struct Waiters(Mutex<HashMap<String, Vec<Arc<Signal>>>>);

#[derive(Debug, Default)]
struct Signal {
    raised: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// A place among the waiters of a key; dropping it leaves.
#[derive(Debug)]
pub(super) struct Waiter<'w> {
    waiters: &'w Waiters,
    key: &'w str,
    signal: Arc<Signal>,
}

impl Waiters {
    pub(super) fn join<'w>(&'w self, key: &'w str) -> Waiter<'w> {
        let signal = Arc::<Signal>::default();
        self.0.lock().entry(key.to_owned()).or_default().push(signal.clone());
        Waiter { waiters: self, key, signal }
    }

    /// Whether anybody waits for `key`.
    pub(super) fn any(&self, key: &str) -> bool {
        self.0.lock().contains_key(key)
    }

    /// Has those whom the hint concerns ask again.
    pub(super) fn hint(&self, wake: &Wake) {
        let concerned = {
            let waiters = self.0.lock();
            match wake {
                Wake::Key(key) => waiters.get(key).cloned().unwrap_or_default(),
                Wake::Any => waiters.values().flatten().cloned().collect(),
            }
        };
        for signal in concerned {
            signal.raised.store(true, Ordering::SeqCst);
            if let Some(waker) = signal.waker.lock().take() {
                waker.wake();
            }
        }
    }
}

impl Waiter<'_> {
    /// Resolves at `until`, or at a hint.
    pub(super) async fn pause(&self, clock: &dyn Clock, until: Moment) {
        let mut set = None;
        poll_fn(|cx| {
            *self.signal.waker.lock() = Some(cx.waker().clone());
            if self.signal.raised.swap(false, Ordering::SeqCst) || clock.now() >= until {
                return Poll::Ready(());
            }
            set = Some(alarm(clock, until, cx.waker().clone()));
            Poll::Pending
        })
        .await;
        drop(set);
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiters = self.waiters.0.lock();
        if let Some(signals) = waiters.get_mut(self.key) {
            signals.retain(|signal| !Arc::ptr_eq(signal, &self.signal));
            if signals.is_empty() {
                waiters.remove(self.key);
            }
        }
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
    use std::future::Future;
    use std::task::Context;

    use super::*;
    use crate::ManualClock;

    #[test]
    fn a_hint_is_not_missed_between_two_pauses() {
        let (waiters, clock) = (Waiters::default(), ManualClock::new());
        let waiter = waiters.join("a");
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
