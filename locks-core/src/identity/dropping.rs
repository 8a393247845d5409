//! A scope around the drop of what has run in it.
//!
//! What a future has on its stack is dropped with it where it is cancelled, and may ask for locks
//! as well: in the scope, as at the end of the future, or it would wait for the very guard that
//! goes after it.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{SCOPE, Scope};

/// The scope of the future that is the next field. Dropped before that field, it is entered, and
/// the [`Leaves`] behind the field leaves it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Enters {
    scope: Option<Scope>,
    /// The future has been polled, and has not ended.
    runs: bool,
}

/// What comes behind the future of an [`Enters`].
#[doc(hidden)]
#[derive(Debug)]
pub struct Leaves {
    runs: bool,
}

/// A scope that is current while something is dropped, and what was the current one before.
struct Dropping {
    scope: *mut Scope,
    outer: *mut Scope,
}

thread_local! {
    /// The innermost is the last. Of drops, so each ends before the one around it.
    static DROPPING: RefCell<Vec<Dropping>> = const { RefCell::new(Vec::new()) };
}

impl Enters {
    /// `None`: the scope opens at the first poll.
    pub const fn new(scope: Option<Scope>) -> Self {
        Self { scope, runs: false }
    }

    /// Polls the future between them in the scope.
    #[inline]
    pub fn poll<F: Future>(
        &mut self,
        leaves: &mut Leaves,
        future: Pin<&mut F>,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        // First of all: what runs has a scope.
        let scope = self.scope.get_or_insert_with(Scope::open);
        (self.runs, leaves.runs) = (true, true);
        let polled = scope.poll(future, cx);
        let runs = polled.is_pending();
        (self.runs, leaves.runs) = (runs, runs);
        polled
    }

    #[cold]
    fn enter(&mut self) {
        let Some(scope) = self.scope.take() else { return };
        let scope = Box::into_raw(Box::new(scope));
        let entered = DROPPING.try_with(|dropping| {
            dropping.borrow_mut().push(Dropping { scope, outer: SCOPE.replace(scope) });
        });
        // A thread that is ending has no place for it any more.
        if entered.is_err() {
            // SAFETY: made above, and nobody else has it.
            drop(unsafe { Box::from_raw(scope) });
        }
    }
}

impl Drop for Enters {
    #[inline]
    fn drop(&mut self) {
        if self.runs {
            self.enter();
        }
    }
}

impl Leaves {
    #[allow(clippy::new_without_default, reason = "it is of no use by itself")]
    pub const fn new() -> Self {
        Self { runs: false }
    }

    #[cold]
    fn leave() {
        let left = DROPPING.try_with(|dropping| dropping.borrow_mut().pop()).ok().flatten();
        if let Some(Dropping { scope, outer }) = left {
            SCOPE.set(outer);
            // SAFETY: from a box, by `enter`, which nobody has looked into since it is no more the
            // current one (I1).
            drop(unsafe { Box::from_raw(scope) });
        }
    }
}

impl Drop for Leaves {
    #[inline]
    fn drop(&mut self) {
        if self.runs {
            Self::leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;
    use std::task::Waker;

    use super::super::{current, scope};
    use super::*;
    use crate::OwnerId;

    /// Notes in whose name it is dropped.
    struct Noting(Rc<Cell<Option<OwnerId>>>, bool);

    impl Drop for Noting {
        fn drop(&mut self) {
            self.0.set(Some(current()));
            assert!(!self.1, "on purpose");
        }
    }

    #[test]
    fn c9_what_is_cancelled_is_dropped_in_its_scope() {
        let thread = current();
        for panics in [false, true] {
            let (outer, inner) = (Rc::new(Cell::new(None)), Rc::new(Cell::new(None)));
            let (mut of_outer, mut of_inner) = (None, None);
            let mut future = Box::pin(scope(async {
                of_outer = Some(current());
                let _noting = Noting(outer.clone(), false);
                scope(async {
                    of_inner = Some(current());
                    let _noting = Noting(inner.clone(), panics);
                    pending::<()>().await;
                })
                .await;
            }));
            let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(future)));
            assert_eq!(dropped.is_err(), panics);
            assert!(of_outer.is_some() && of_inner.is_some() && of_outer != of_inner);
            assert_eq!((outer.get(), inner.get()), (of_outer, of_inner));
            assert_eq!(current(), thread, "it is left");
        }
    }

    #[test]
    fn c9_what_has_not_begun_opens_no_scope_to_be_dropped() {
        let dropped_by = Rc::new(Cell::new(None));
        let noting = Noting(dropped_by.clone(), false);
        drop(scope(async move {
            let _noting = noting;
            pending::<()>().await;
        }));
        assert_eq!(dropped_by.get(), Some(current()));
    }
}
