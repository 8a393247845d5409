use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::ready_queue::ReadySource;

/// Goes off after a while. The runtime's clock stops in suspend, the arbiter's does not: nobody
/// sleeps for longer than [`LONGEST`](Self::LONGEST) without comparing.
#[derive(Debug)]
pub(super) struct Timer {
    sleep: Pin<Box<Sleep>>,
    waker: Waker,
    /// When it goes off next.
    set_for: Option<Instant>,
}

impl Timer {
    pub(super) const LONGEST: Duration = Duration::from_secs(1);

    /// To be called in the runtime.
    pub(super) fn new(ready_source: Arc<ReadySource>) -> Self {
        let sleep = Box::pin(tokio::time::sleep(Self::LONGEST));
        Self { sleep, waker: Waker::from(ready_source), set_for: None }
    }

    /// Goes off after this time at the latest.
    pub(super) fn set(&mut self, wait: Duration) {
        let at = Instant::now() + wait.min(Self::LONGEST);
        // An earlier one goes off for nothing, which costs less than setting it anew each time.
        if self.set_for.is_none_or(|set_for| at < set_for) {
            self.sleep.as_mut().reset(at);
            self.set_for = Some(at);
            self.answer();
        }
    }

    /// To be called after it has gone off.
    pub(super) fn answer(&mut self) {
        let elapsed = self.sleep.as_mut().poll(&mut Context::from_waker(&self.waker)).is_ready();
        if elapsed && self.set_for.take().is_some() {
            self.waker.wake_by_ref();
        }
    }
}
