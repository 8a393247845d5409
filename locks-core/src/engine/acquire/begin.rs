//! How a request begins: at once where it can, by waiting where it must.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::queued::Queued;
use crate::engine::state::KeyRequest;
use crate::engine::table::{Core, PinnedKey, PinnedSlot};
use crate::park::Spin;
use crate::{Hold, LockError, Op, Request, SystemClock, Wait};

/// What comes of a request at once.
pub(crate) enum Attempt {
    Granted(Hold),
    Pending(PendingHold),
    Refused(LockError),
}

/// A request that waits. Dropping it withdraws it (C5).
pub(crate) enum PendingHold {
    One(Queued),
    /// For several keys, or for the upstream.
    Further(Op<'static, Hold>),
}

impl Future for PendingHold {
    type Output = Result<Hold, LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            PendingHold::One(queued) => Pin::new(queued).poll(cx).map_ok(Hold::slot),
            PendingHold::Further(op) => Pin::new(op).poll(cx),
        }
    }
}

impl PendingHold {
    /// Waits on this thread.
    fn block(self) -> Result<Hold, LockError> {
        match self {
            PendingHold::One(queued) => queued.block().map(Hold::slot),
            PendingHold::Further(op) => op.block(),
        }
    }
}

impl Core {
    /// Grants a plain lock on a free key at once. Anything else is asked for when it is first
    /// polled. A thread that `parks` looks a few times more.
    pub(in crate::engine) fn begin(
        self: &Arc<Self>,
        request: Request<'_>,
        pinned: Option<PinnedKey>,
        parks: bool,
    ) -> Attempt {
        let fast = self.fast_holder(&request).zip(request.keys.single());
        let simple = request.options.is_simple();
        let is_fair = request.options.fair == Some(true);
        // What is no more than plain needs no check, and its key is checked where it is new. One
        // that has been looked up is tried below.
        if simple
            && pinned.is_none()
            && let Some((holder, key)) = fast
            && let Some((slot, token)) = self.try_acquire_fast(key, is_fair, holder)
        {
            return Attempt::Granted(Hold::plain(slot, token));
        }
        // The deadline counts from here on (C2).
        let mut since = None;
        let deadline = match request.wait() {
            Wait::AtMost(limit) => Some(since.insert(self.clock.now()).after(limit)),
            Wait::Forever | Wait::Try => None,
        };
        if !(simple && pinned.is_some())
            && let Err(error) = self.about.check(&request)
        {
            return Attempt::Refused(error);
        }
        if request.options.steal_after.is_some() {
            SystemClock::expect_thieves();
        }
        // SAFETY: its call site keeps a pin for ever.
        let mut slot = pinned.map(|pinned| unsafe { PinnedSlot::new(self, pinned.slot_ref()) });
        if let Some((holder, key)) = fast {
            // A task does not look again where that would be for a look-up's sake.
            let looks = request.wait() != Wait::Try && (parks || slot.is_some());
            let spin = Spin::new(looks, parks && deadline.is_none());
            let slot = slot.get_or_insert_with(|| self.pin(key));
            if let Some(hold) = self.spin(slot.slot_ref(), slot, holder, is_fair, spin, parks) {
                return Attempt::Granted(hold);
            }
        }
        let Request { keys, options, caller, requested_at } = request;
        let since = requested_at.or(since);
        let ask = KeyRequest { requested_at, ..KeyRequest::new(caller, &options) };
        match (keys.single(), &self.upstream) {
            (Some(key), None) => {
                let slot = slot.unwrap_or_else(|| self.pin(key));
                Attempt::Pending(PendingHold::One(Queued::new(slot, ask, since, deadline)))
            }
            (Some(key), Some(upstream)) => {
                let (core, upstream) = (self.clone(), upstream.clone());
                let grant =
                    core.acquire_upstream(upstream, key.into(), ask, options, since, deadline);
                further(async { grant.await.map(Hold::slot) })
            }
            (None, _) => {
                let keys = keys.iter().map(Box::from).collect();
                let (core, since) = (self.clone(), since.unwrap_or_else(|| self.clock.now()));
                further(core.acquire_several(keys, ask, options, since, deadline))
            }
        }
    }
}

impl Attempt {
    /// Waits on this thread.
    pub(in crate::engine) fn wait(self) -> Result<Hold, LockError> {
        match self {
            Attempt::Granted(hold) => Ok(hold),
            Attempt::Pending(waiting) => waiting.block(),
            Attempt::Refused(error) => Err(error),
        }
    }
}

/// Polls once, since most of these need no more.
fn further(future: impl Future<Output = Result<Hold, LockError>> + Send + 'static) -> Attempt {
    let mut op = Op::later(future);
    match Pin::new(&mut op).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(hold)) => Attempt::Granted(hold),
        Poll::Ready(Err(error)) => Attempt::Refused(error),
        Poll::Pending => Attempt::Pending(PendingHold::Further(op)),
    }
}
