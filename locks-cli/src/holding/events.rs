//! What a run waits for, in one place: signals, and word of the lock.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Context, Wake, Waker};
use std::time::Instant;

use rustix::process::Signal;

/// Something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Signal(Signal),
    /// It is worth looking again: at the lock, or at the child.
    Look,
    /// The process that the lock is held for has ended.
    Gone,
    /// Nobody waits any more for what comes of asking for the lock.
    Unheard,
}

pub(crate) struct Events {
    sender: Sender<Event>,
    receiver: Receiver<Event>,
    waker: Waker,
}

/// Wakes by sending an event, so that whoever waits for events needs nothing else.
struct EventWaker(Sender<Event>);

impl Wake for EventWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Nobody listens any more: then there is nobody to wake.
        let _ = self.0.send(Event::Look);
    }
}

impl Events {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::channel();
        let waker = Waker::from(Arc::new(EventWaker(sender.clone())));
        Self { sender, receiver, waker }
    }

    pub(crate) fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// For what is polled between events.
    pub(crate) fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    /// Takes the signals that have come and were not handed out yet.
    pub(crate) fn signals(&self) -> Vec<Signal> {
        let signal = |event| match event {
            Event::Signal(signal) => Some(signal),
            Event::Look | Event::Gone | Event::Unheard => None,
        };
        self.receiver.try_iter().filter_map(signal).collect()
    }

    /// The next event; `Look` at the deadline.
    pub(crate) fn next(&self, deadline: Option<Instant>) -> Event {
        let event = match deadline {
            // The sender is kept, so it cannot end.
            None => self.receiver.recv().ok(),
            Some(at) => {
                self.receiver.recv_timeout(at.saturating_duration_since(Instant::now())).ok()
            }
        };
        event.unwrap_or(Event::Look)
    }
}
