//! Where the outcome of a task is left for whoever began it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::sync::plain::Mutex;

use super::keeper::Keeper;
use crate::LockError;

/// A slip to be filled in once and read once. A failure that is not read is `untold`'s, on the
/// thread of `keeper`.
pub(super) fn slip<T>(keeper: Keeper, untold: fn(&LockError)) -> (Report<T>, Read<T>) {
    let slip = Arc::new(Mutex::new(Slip { outcome: None, reader: None, abandoned: false }));
    (Report { slip: Some(slip.clone()), untold }, Read { slip, keeper, untold })
}

struct Slip<T> {
    outcome: Option<Result<T, LockError>>,
    reader: Option<Waker>,
    abandoned: bool,
}

/// The right to fill in a slip; dropped without that, it says so.
pub(super) struct Report<T> {
    slip: Option<Arc<Mutex<Slip<T>>>>,
    untold: fn(&LockError),
}

/// The outcome, as soon as there is one.
pub(super) struct Read<T> {
    slip: Arc<Mutex<Slip<T>>>,
    keeper: Keeper,
    untold: fn(&LockError),
}

impl<T> Report<T> {
    pub(super) fn file(mut self, outcome: Result<T, LockError>) {
        self.fill_in(outcome);
    }

    fn fill_in(&mut self, outcome: Result<T, LockError>) {
        let Some(slip) = self.slip.take() else { return };
        let mut slip = slip.lock();
        if slip.abandoned {
            drop(slip);
            return outcome.map(drop).unwrap_or_else(|error| (self.untold)(&error));
        }
        slip.outcome = Some(outcome);
        let reader = slip.reader.take();
        drop(slip);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl<T> Drop for Report<T> {
    fn drop(&mut self) {
        let why = "the store's step was broken off by a panic";
        self.fill_in(Err(LockError::unavailable("", why).with_message(why)));
    }
}

impl<T> Future for Read<T> {
    type Output = Result<T, LockError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slip = self.slip.lock();
        match slip.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                slip.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Read<T> {
    fn drop(&mut self) {
        let mut slip = self.slip.lock();
        slip.abandoned = true;
        let unread = slip.outcome.take();
        drop(slip);
        if let Some(Err(error)) = unread {
            // Not here: whoever drops it may have mutexes locked.
            let untold = self.untold;
            self.keeper.spawn(async move { untold(&error) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

    fn note(error: &LockError) {
        TOLD.lock().push(error.key().to_owned());
    }

    fn times_told(key: &str) -> usize {
        TOLD.lock().iter().filter(|told| *told == key).count()
    }

    fn failure(key: &str) -> Result<(), LockError> {
        Err(LockError::unavailable("", "as ordered").with_key(key))
    }

    #[test]
    fn f11_a_failure_that_nobody_waits_for_is_told() {
        let (report, read) = slip(Keeper::new(), note);
        drop(read);
        report.file(failure("late"));
        assert_eq!(times_told("late"), 1);
        let (report, read) = slip(Keeper::new(), note);
        report.file(failure("early"));
        drop(read);
        let start = Instant::now();
        while times_told("early") == 0 && start.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
        assert_eq!(times_told("early"), 1);
    }

    #[test]
    fn f11_a_failure_that_is_read_is_not_told_as_well() {
        let (report, read) = slip(Keeper::new(), note);
        report.file(failure("read"));
        assert_eq!(crate::park::block_on(read).unwrap_err().key(), "read");
        let (report, read) = slip::<()>(Keeper::new(), note);
        report.file(Ok(()));
        drop(read);
        assert_eq!(times_told("read"), 0);
    }
}
