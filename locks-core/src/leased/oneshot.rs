//! The outcome of a task, for the one who began it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::sync::plain::Mutex;
use crate::{LockError, Op};

/// Returns the two ends of a channel for one outcome. A failure that is never received goes to
/// `on_unobserved`.
pub(super) fn oneshot<T>(on_unobserved: fn(&LockError)) -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel { state: Mutex::new(ChannelState::Empty(None)), on_unobserved });
    (Sender(channel.clone()), Receiver(channel))
}

struct Channel<T> {
    state: Mutex<ChannelState<T>>,
    on_unobserved: fn(&LockError),
}

enum ChannelState<T> {
    Empty(Option<Waker>),
    Sent(Result<T, LockError>),
    /// Received, or nobody is there to receive it.
    Closed,
}

/// Dropped without having sent, it sends that the task was broken off.
pub(super) struct Sender<T>(Arc<Channel<T>>);

pub(super) struct Receiver<T>(Arc<Channel<T>>);

impl<T> Channel<T> {
    fn replace(&self, state: ChannelState<T>) -> ChannelState<T> {
        std::mem::replace(&mut *self.state.lock(), state)
    }

    fn report_unobserved(&self, state: ChannelState<T>) {
        if let ChannelState::Sent(Err(error)) = state {
            (self.on_unobserved)(&error);
        }
    }

    fn send(&self, outcome: Result<T, LockError>) {
        match self.replace(ChannelState::Sent(outcome)) {
            ChannelState::Empty(receiver) => receiver.into_iter().for_each(Waker::wake),
            ChannelState::Closed => self.report_unobserved(self.replace(ChannelState::Closed)),
            sent @ ChannelState::Sent(_) => drop(self.replace(sent)),
        }
    }
}

impl<T> Sender<T> {
    pub(super) fn send(self, outcome: Result<T, LockError>) {
        self.0.send(outcome);
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if matches!(*self.0.state.lock(), ChannelState::Empty(_)) {
            let why = "the store's step was broken off by a panic";
            self.0.send(Err(LockError::unavailable("", why).with_message(why)));
        }
    }
}

impl<T: Send + 'static> Receiver<T> {
    pub(super) fn into_op(self) -> Op<'static, T> {
        match self.poll_now(Waker::noop()) {
            Poll::Ready(outcome) => Op::Now(outcome),
            Poll::Pending => Op::later(self),
        }
    }

    fn poll_now(&self, waker: &Waker) -> Poll<Result<T, LockError>> {
        let mut state = self.0.state.lock();
        match std::mem::replace(&mut *state, ChannelState::Closed) {
            ChannelState::Sent(outcome) => Poll::Ready(outcome),
            ChannelState::Empty(_) | ChannelState::Closed => {
                *state = ChannelState::Empty(Some(waker.clone()));
                Poll::Pending
            }
        }
    }
}

impl<T: Send + 'static> Future for Receiver<T> {
    type Output = Result<T, LockError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_now(cx.waker())
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.report_unobserved(self.0.replace(ChannelState::Closed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static REPORTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

    fn report(error: &LockError) {
        REPORTED.lock().push(error.key().to_owned());
    }

    fn times_reported(key: &str) -> usize {
        REPORTED.lock().iter().filter(|reported| *reported == key).count()
    }

    fn failure(key: &str) -> Result<(), LockError> {
        Err(LockError::unavailable("", "as ordered").with_key(key))
    }

    #[test]
    fn f11_a_failure_that_nobody_receives_is_reported_once() {
        let (sender, receiver) = oneshot(report);
        drop(receiver);
        sender.send(failure("late"));
        let (sender, receiver) = oneshot(report);
        sender.send(failure("early"));
        drop(receiver);
        assert_eq!((times_reported("late"), times_reported("early")), (1, 1));
    }

    #[test]
    fn f11_a_failure_that_is_received_is_not_reported_as_well() {
        let (sender, receiver) = oneshot(report);
        sender.send(failure("received"));
        assert_eq!(crate::park::block_on(receiver).unwrap_err().key(), "received");
        let (sender, receiver) = oneshot(report);
        sender.send(failure("received"));
        assert_eq!(receiver.into_op().block().unwrap_err().key(), "received");
        let (sender, receiver) = oneshot::<()>(report);
        sender.send(Ok(()));
        drop(receiver);
        assert_eq!(times_reported("received"), 0);
    }
}
