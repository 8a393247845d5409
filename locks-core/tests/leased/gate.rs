//! What holds a step up until it is opened.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use parking_lot::{Condvar, Mutex};

#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Passage>);

#[derive(Default)]
struct Passage {
    state: Mutex<Passing>,
    opened: Condvar,
}

#[derive(Default)]
struct Passing {
    open: bool,
    blocked: usize,
    wakers: Vec<Waker>,
}

impl Gate {
    pub(crate) fn open(&self) {
        let mut state = self.0.state.lock();
        state.open = true;
        self.0.opened.notify_all();
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether a thread is blocked by it, or a step held up.
    pub(crate) fn is_waited_for(&self) -> bool {
        let state = self.0.state.lock();
        state.blocked > 0 || !state.wakers.is_empty()
    }

    pub(crate) async fn passed(&self) {
        poll_fn(|cx| {
            let mut state = self.0.state.lock();
            if state.open {
                return Poll::Ready(());
            }
            state.wakers.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(crate) fn block(&self) {
        let mut state = self.0.state.lock();
        state.blocked += 1;
        while !state.open {
            self.0.opened.wait(&mut state);
        }
        state.blocked -= 1;
    }
}
