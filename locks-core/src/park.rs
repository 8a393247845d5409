//! Blocking on a future by parking the thread.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

#[cfg(not(any(loom, shuttle)))]
#[path = "wait_point.rs"]
mod wait_point;

use crate::clock::attend;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::spin_loop;
use crate::sync::thread::{self, Thread};

#[cfg(not(any(loom, shuttle)))]
pub use self::wait_point::{WaitPoint, wait_at};

/// Wakes one thread. The flag, not the thread's own token, says whether there is reason to poll
/// again: a blocking call inside a poll of another one would use up the token.
struct ThreadSignal {
    thread: Thread,
    raised: AtomicBool,
    /// Where the thread waits, if not parked. Set before it looks at `raised` for the last time,
    /// and looked at after `raised` has been set: one of the two sees the other.
    #[cfg(not(any(loom, shuttle)))]
    elsewhere: wait_point::Elsewhere,
}

impl Wake for ThreadSignal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.raised.swap(true, Ordering::SeqCst) {
            #[cfg(not(any(loom, shuttle)))]
            if let Some(point) = self.elsewhere.get() {
                // Whoever is woken by what he has read himself looks anyway.
                if self.thread.id() != thread::current().id() {
                    point.interrupt();
                }
                return;
            }
            self.thread.unpark();
        }
    }
}

/// A thread's means to be woken; one is kept for each thread and lent to one call at a time.
pub(crate) struct Parker {
    signal: Arc<ThreadSignal>,
    waker: Waker,
    made_in: u64,
}

/// The rounds in which a thread looks again before it parks, or a task before it queues: waking a
/// parked thread costs both sides more than a short hold takes. All but the first are waited for, a
/// little longer each time.
pub(crate) struct Spin {
    round: u32,
    end: u32,
}

/// One look.
pub(crate) struct SpinRound {
    /// Whether the thread has given way to others before.
    pub(crate) has_yielded: bool,
}

impl Spin {
    /// Just one round, unless it looks `again`: for a few hundred nanoseconds, or, where it
    /// `yields`, for as long as the scheduler likes.
    pub(crate) const fn new(again: bool, yields: bool) -> Self {
        let end = match (again, yields) {
            (false, _) => 1,
            (true, false) => 4,
            (true, true) => 11,
        };
        Self { round: 0, end }
    }
}

impl Iterator for Spin {
    type Item = SpinRound;

    fn next(&mut self) -> Option<SpinRound> {
        let round = self.round;
        if round == self.end {
            return None;
        }
        self.round += 1;
        match round {
            0 => {}
            1..=3 => (0..1 << round).for_each(|_| spin_loop()),
            _ => thread::yield_now(),
        }
        Some(SpinRound { has_yielded: round > 3 })
    }
}

thread_local! {
    static KEPT: Cell<Option<Parker>> = const { Cell::new(None) };
}

impl Parker {
    /// Calls `run` with a parker of this thread.
    pub(crate) fn with<R>(run: impl FnOnce(&Parker) -> R) -> R {
        // A stale wake-up from its last use means one poll too many, no more.
        let parker = Self::kept().unwrap_or_else(Self::new);
        let outcome = run(&parker);
        parker.keep();
        outcome
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Parks until woken, or for `limit` at most.
    pub(crate) fn park(&self, limit: Option<Duration>) {
        attend(&self.waker);
        let raised = || self.signal.raised.load(Ordering::Relaxed);
        // In a wait that has an end there is no time for a scheduler's rounds (C2).
        Spin::new(true, limit.is_none()).any(|_| raised());
        if self.signal.raised.swap(false, Ordering::AcqRel) {
            return;
        }
        match limit {
            Some(limit) => park_timeout(limit),
            None => thread::park(),
        }
        // An exchange, to see what was done before a wake-up that came together with another.
        self.signal.raised.swap(false, Ordering::AcqRel);
    }

    /// Waits at a backend's own place, if that has room, until woken.
    #[cfg(not(any(loom, shuttle)))]
    fn wait_at(&self, point: &Arc<dyn WaitPoint>) {
        attend(&self.waker);
        self.signal.elsewhere.set(Some(point.clone()));
        let woken = || self.signal.raised.load(Ordering::SeqCst);
        let waited = woken() || point.wait(&woken);
        self.signal.elsewhere.set(None);
        if !waited {
            return self.park(None);
        }
        self.signal.raised.swap(false, Ordering::SeqCst);
    }

    fn new() -> Self {
        let signal = Arc::new(ThreadSignal {
            thread: thread::current(),
            raised: AtomicBool::new(false),
            #[cfg(not(any(loom, shuttle)))]
            elsewhere: wait_point::Elsewhere::default(),
        });
        Self { waker: Waker::from(signal.clone()), signal, made_in: crate::fork::generation() }
    }

    #[cfg(not(any(loom, shuttle)))]
    fn kept() -> Option<Self> {
        let kept = KEPT.try_with(Cell::take).ok().flatten()?;
        // Somebody who woke it may have had a mutex of it locked when this process was forked.
        (kept.made_in == crate::fork::generation()).then_some(kept)
    }

    #[cfg(not(any(loom, shuttle)))]
    fn keep(self) {
        let _ = KEPT.try_with(|kept| kept.set(Some(self)));
    }

    /// The explorers start their threads anew in each run, on the same real thread.
    #[cfg(any(loom, shuttle))]
    fn kept() -> Option<Self> {
        let _ = &KEPT;
        None
    }

    #[cfg(any(loom, shuttle))]
    fn keep(self) {}
}

#[cfg(not(any(loom, shuttle)))]
fn park_timeout(limit: Duration) {
    thread::park_timeout(limit);
}

/// The explorers know no time; their models bring a clock that needs none.
#[cfg(any(loom, shuttle))]
fn park_timeout(_: Duration) {
    thread::yield_now();
}

/// Returns `true` while this thread polls what it is blocked on in [`block_on`].
pub(crate) fn is_blocked() -> bool {
    #[cfg(not(any(loom, shuttle)))]
    return wait_point::is_blocked();
    #[cfg(any(loom, shuttle))]
    false
}

/// Polls `future` to its end, parking this thread in between.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    Parker::with(|parker| {
        let mut cx = Context::from_waker(parker.waker());
        loop {
            #[cfg(not(any(loom, shuttle)))]
            let polled = wait_point::polling(|| future.as_mut().poll(&mut cx));
            #[cfg(any(loom, shuttle))]
            let polled = (future.as_mut().poll(&mut cx), None::<()>);
            match polled {
                (Poll::Ready(output), _) => return output,
                #[cfg(not(any(loom, shuttle)))]
                (Poll::Pending, Some(point)) => parker.wait_at(&point),
                (Poll::Pending, _) => parker.park(None),
            }
        }
    })
}
