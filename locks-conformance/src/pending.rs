use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::subject::Subject;
use locks_core::{Acquire, ErrorKind, LockBuilder, LockError, OwnedGuard};

/// A waker that counts, and that a thread can wait for.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        *self.count.lock().expect("nothing panics under it") += 1;
        self.changed.notify_all();
    }
}

impl Wakes {
    fn count(&self) -> usize {
        *self.count.lock().expect("nothing panics under it")
    }

    /// Waits until it has been woken more than `seen` times; whether it has.
    fn wait_beyond(&self, seen: usize, patience: Duration) -> bool {
        let count = self.count.lock().expect("nothing panics under it");
        let outcome = self.changed.wait_timeout_while(count, patience, |count| *count <= seen);
        !outcome.expect("nothing panics under it").1.timed_out()
    }
}

/// A future polled by hand, and only for a reason: the first time, or when woken. A wake-up
/// that is lost is thus a hang, and a hang is a panic.
pub(super) struct Driven<F: Future> {
    future: Pin<Box<F>>,
    wakes: Arc<Wakes>,
    /// How often it had been woken at the last poll; `None` before the first.
    seen: Option<usize>,
}

impl<F: Future> Driven<F> {
    pub(super) fn new(future: F) -> Self {
        Self { future: Box::pin(future), wakes: Arc::default(), seen: None }
    }

    /// What its wakers wake: counted for as long as somebody keeps one.
    pub(super) fn wakes(&self) -> Arc<Wakes> {
        self.wakes.clone()
    }

    /// Polls whether or not there is a reason.
    pub(super) fn poll(&mut self) -> Poll<F::Output> {
        self.seen = Some(self.wakes.count());
        let waker = Waker::from(self.wakes.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Waits until it has been woken since the last poll.
    #[track_caller]
    pub(super) fn assert_woken(&self, patience: Duration, what: &str) {
        let seen = self.seen.expect("it has been polled before");
        assert!(self.wakes.wait_beyond(seen, patience), "{what} was never woken");
    }

    /// Polls whenever woken, until it is ready.
    #[track_caller]
    pub(super) fn finish(&mut self, patience: Duration, what: &str) -> F::Output {
        let start = Instant::now();
        loop {
            if self.seen.is_some() {
                self.assert_woken(patience.saturating_sub(start.elapsed()), what);
            }
            if let Poll::Ready(output) = self.poll() {
                return output;
            }
        }
    }
}

/// An acquisition polled by hand.
pub(super) struct Pending {
    acquire: Driven<Acquire<'static>>,
    outcome: Option<Result<OwnedGuard, LockError>>,
    /// From when on it may end by itself.
    may_end: Option<Duration>,
}

impl Pending {
    /// An acquisition that has not been polled yet.
    #[track_caller]
    pub(super) fn begin(lock: LockBuilder<'static>) -> Self {
        Self::of(lock.acquire_async())
    }

    pub(super) fn of(acquire: Acquire<'static>) -> Self {
        Self { acquire: Driven::new(acquire), outcome: None, may_end: None }
    }

    /// Polls it once; whether it has ended.
    pub(super) fn poll(&mut self) -> bool {
        if self.outcome.is_none()
            && let Poll::Ready(outcome) = self.acquire.poll()
        {
            self.outcome = Some(outcome);
        }
        self.outcome.is_some()
    }

    /// Leaves another waker.
    pub(super) fn poll_with(&mut self, waker: &Waker) {
        let mut context = Context::from_waker(waker);
        if self.outcome.is_none()
            && let Poll::Ready(outcome) = self.acquire.future.as_mut().poll(&mut context)
        {
            self.outcome = Some(outcome);
        }
    }

    /// Waits until it is woken, without polling it.
    #[track_caller]
    pub(super) fn assert_woken(&self, subject: &Subject) {
        if self.outcome.is_none() {
            self.acquire.assert_woken(subject.patience(), "the waiter");
        }
    }

    /// By itself it ends no earlier than `after` since the time `since` on the arbiter's clock.
    pub(super) fn may_end(&mut self, since: Duration, after: Duration) {
        self.may_end = Some(since + after);
    }

    /// It has not ended by what the arbiter has been asked so far.
    #[track_caller]
    pub(super) fn assert_waits(&mut self, subject: &Subject) {
        self.poll();
        subject.round_trip();
        self.poll();
        if self.may_end.is_some_and(|at| at <= subject.now()) {
            return;
        }
        match &self.outcome {
            None => {}
            Some(Ok(guard)) => panic!("{guard:?} was granted to one who had to wait"),
            Some(Err(error)) => panic!("refused instead of having to wait: {error:?}"),
        }
    }

    /// Drives it to its end.
    #[track_caller]
    pub(super) fn finish(mut self, subject: &Subject) -> Result<OwnedGuard, LockError> {
        match self.outcome.take() {
            Some(outcome) => outcome,
            None => self.acquire.finish(subject.patience(), "the acquisition"),
        }
    }

    /// Drives it to its grant.
    #[track_caller]
    pub(super) fn granted(self, subject: &Subject) -> OwnedGuard {
        match self.finish(subject) {
            Ok(guard) => guard,
            Err(error) => panic!("not granted after all: {error:?}"),
        }
    }

    /// Drives it to its grant, unless `other` ends first.
    #[track_caller]
    pub(super) fn granted_before(
        mut self,
        subject: &Subject,
        other: &mut Self,
    ) -> Option<OwnedGuard> {
        let start = Instant::now();
        while !self.poll() {
            if other.poll() {
                return None;
            }
            assert!(start.elapsed() < subject.patience(), "the waiter was never granted");
            std::thread::park_timeout(Duration::from_millis(1));
        }
        Some(self.granted(subject))
    }

    /// Drives it to its refusal.
    #[track_caller]
    pub(super) fn refused(self, subject: &Subject, kind: ErrorKind) -> LockError {
        match self.finish(subject) {
            Ok(guard) => panic!("{guard:?} was granted, not refused as {kind:?}"),
            Err(error) => {
                assert_eq!(error.kind(), kind, "{error:?}");
                error
            }
        }
    }

    /// Drives it to its end, which has to come `after` since the time `since` on the arbiter's
    /// clock: not a tick early and at most two late.
    #[track_caller]
    pub(super) fn due(
        mut self,
        subject: &Subject,
        since: Duration,
        after: Duration,
    ) -> Result<OwnedGuard, LockError> {
        self.not_before(subject, since, after);
        subject.advance((since + after + subject.late()).saturating_sub(subject.now()));
        self.finish(subject)
    }

    /// Lets time pass up to a tick before `after` since `since`; it may not end by then.
    #[track_caller]
    pub(super) fn not_before(&mut self, subject: &Subject, since: Duration, after: Duration) {
        self.poll();
        let almost = since + after.saturating_sub(subject.tick());
        subject.advance(almost.saturating_sub(subject.now()));
        subject.round_trip();
        // Where the clock cannot be set the sleep may have taken too long: then it may have
        // ended, and in time.
        if self.poll() {
            let at = subject.now() - since;
            let outcome = &self.outcome;
            assert!(at >= after, "it came by {at:?}, and was due after {after:?}: {outcome:?}");
        }
    }
}
