use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use locks_core::{Clock, SystemClock};

use crate::kernel::{self, Nanos};

/// That there is something to look at, and who wants to know.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    raised: AtomicBool,
    waker: Mutex<Option<Waker>>,
    /// Woken each time, and not only once.
    bell: Option<Waker>,
}

impl Signal {
    /// A signal that wakes `bell` each time it is raised.
    pub(crate) fn for_good(bell: Waker) -> Arc<Self> {
        Arc::new(Self { bell: Some(bell), ..Self::default() })
    }

    /// Has whoever waits look again, now or when it next waits.
    pub(crate) fn raise(&self) {
        // Before the waker is looked for: who leaves one looks at this afterwards.
        self.raised.store(true, Ordering::SeqCst);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(bell) = &self.bell {
            bell.wake_by_ref();
        }
    }
}

/// Waits until the signal is raised, and says so, or until the time has come.
pub(crate) async fn pause(signal: &Signal, until: Nanos) -> bool {
    let mut alarm = None;
    let raised = poll_fn(|cx| {
        // Each time: it may have been woken for no reason, and whoever is called to read has to
        // come.
        super::wait_here();
        *signal.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        if signal.raised.swap(false, Ordering::SeqCst) {
            return Poll::Ready(true);
        }
        let left = kernel::duration_until(until);
        if left.is_zero() {
            return Poll::Ready(false);
        }
        alarm = Some(SystemClock.wake_at(SystemClock.now().after(left), cx.waker().clone()));
        Poll::Pending
    })
    .await;
    drop(alarm);
    raised
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    fn polled(signal: &Signal, until: Nanos) -> Poll<bool> {
        pin!(pause(signal, until)).as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn f5_a_signal_between_two_pauses_is_not_missed() {
        let (signal, later) = (Signal::default(), kernel::now() + 1_000_000_000_000);
        assert_eq!(polled(&signal, later), Poll::Pending);
        signal.raise();
        assert_eq!(polled(&signal, later), Poll::Ready(true));
        assert_eq!(polled(&signal, later), Poll::Pending, "it is good for one look");
        assert_eq!(polled(&signal, 0), Poll::Ready(false));
    }
}
