use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Waker;
use std::thread;

/// Makes calls one after the other, each caught on its own, and lets the first panic go on when all
/// are made: unless another one is under way already.
#[derive(Default)]
pub(crate) struct Calls {
    panic: Option<Box<dyn Any + Send>>,
}

impl Calls {
    pub(crate) fn make<R>(&mut self, call: impl FnOnce() -> R) -> Option<R> {
        let outcome = catch_unwind(AssertUnwindSafe(call));
        match outcome {
            Ok(outcome) => Some(outcome),
            Err(panic) => {
                self.panic.get_or_insert(panic);
                None
            }
        }
    }

    pub(crate) fn wake(&mut self, waker: Waker) {
        self.make(|| waker.wake());
    }

    pub(crate) fn discard(&mut self, waker: Waker) {
        self.make(|| drop(waker));
    }

    pub(crate) fn end(self) {
        if let Some(panic) = self.panic
            && !thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}
