//! A request that waits, and how a request comes to wait.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::effects::Effects;
use super::graph::{Edge, Graph};
use super::registry::Pinned;
use super::slot::Frozen;
use super::state::{Answer, Ask, Look, Place, Refusal, Settled};
use super::{Core, describe};
use crate::backend::{Nested, SlotHold};
use crate::clock::{Alarm, Moment};
use crate::error::permits_mismatch;
use crate::identity::Within;
use crate::park::Parker;
use crate::{ErrorKind, Hold, LockError};

/// What comes of a request at once.
pub(crate) enum Begun {
    Granted(Hold),
    Waiting(Waiting),
    Refused(LockError),
}

/// A request that waits. Dropping it withdraws it (C5).
pub(crate) enum Waiting {
    One(Queued),
    /// For several keys, or for the upstream.
    Further(Pin<Box<dyn Future<Output = Result<Hold, LockError>> + Send>>),
}

impl Future for Waiting {
    type Output = Result<Hold, LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Waiting::One(queued) => Pin::new(queued).poll(cx).map_ok(Hold::slot),
            Waiting::Further(future) => future.as_mut().poll(cx),
        }
    }
}

impl Waiting {
    /// Waits on this thread.
    pub(super) fn block(self) -> Result<Hold, LockError> {
        match self {
            Waiting::One(queued) => queued.block().map(Hold::slot),
            Waiting::Further(future) => crate::park::block_on(future),
        }
    }
}

/// A place in the queue of one key.
pub(crate) struct Queued {
    slot: Pinned,
    place: Place,
    since: Moment,
    deadline: Option<Moment>,
    site: Option<crate::CallSite>,
    alarm: Option<Alarm>,
    edge: Option<Edge>,
    /// Neither granted nor given up yet.
    pending: bool,
}

/// What comes of asking for one key.
pub(super) enum Asked {
    Granted(SlotHold),
    Queued(Queued),
    Refused(LockError),
}

impl Core {
    /// Asks for one key, by way of its state.
    pub(super) fn ask(
        self: &Arc<Self>,
        slot: Pinned,
        ask: Ask,
        since: Moment,
        deadline: Option<Moment>,
    ) -> Asked {
        let now = self.clock.now();
        // Who opens a scope holds nothing yet, and who has no name cannot be waited for (C10).
        let caller = &ask.caller;
        let opens = caller.opens_scope && caller.within.len() == 1;
        let within = if opens { Within::new() } else { caller.within.clone() };
        let site = caller.site;
        let mut effects = Effects::default();
        let mut frozen = self.freeze(&slot, now);
        let asked = match frozen.ask(ask, now, &mut effects) {
            Answer::Granted(settled) => Ok(Asked::Granted(hold(&slot, settled))),
            Answer::Queued(place) => Err(place),
            Answer::Refused(refusal, ask) => {
                Ok(Asked::Refused(self.refuse(refusal, &ask, &frozen, now)))
            }
        };
        self.finish(frozen, effects);
        let place = match asked {
            Ok(asked) => return asked,
            Err(place) => place,
        };
        let mut queued =
            Queued { slot, place, since, deadline, site, alarm: None, edge: None, pending: true };
        if within.is_empty() {
            return Asked::Queued(queued);
        }
        match Graph::enter(self, &queued.slot, place, &within) {
            Ok(edge) => {
                queued.edge = Some(edge);
                Asked::Queued(queued)
            }
            Err(cycle) => queued.refuse(cycle),
        }
    }
}

impl Core {
    #[cold]
    fn refuse(&self, refusal: Refusal, ask: &Ask, frozen: &Frozen<'_>, now: Moment) -> LockError {
        let key = frozen.slot().key();
        match refusal {
            Refusal::Contended => {
                let site = ask.caller.site;
                describe::in_the_way(ErrorKind::Contended, frozen, None, site, now)
            }
            Refusal::Own => describe::own(frozen, ask, None, now),
            Refusal::Upgrade => {
                let why = "another shared holder is waiting to become exclusive already, and \
                           neither would ever let go; release the shared lock first";
                describe::own(frozen, ask, Some(why), now)
            }
            Refusal::PermitsMismatch => permits_mismatch(key, frozen.used_as(), ask.mode),
            Refusal::NoUpgrade => {
                let why = "a shared hold cannot become exclusive here: release it first";
                LockError::unsupported(&self.about.name, "upgrade", why)
            }
        }
    }
}

fn hold(slot: &Pinned, settled: Settled) -> SlotHold {
    let Settled { token, level } = settled;
    let nested = if level == 0 { Nested::No } else { Nested::Yes };
    SlotHold { slot: slot.slot_ref(), token, level, nested }
}

impl Queued {
    /// Looks whether it is granted; otherwise leaves `waker`.
    fn look(&mut self, waker: &Waker) -> Looked {
        let now = self.slot.core().clock.now();
        let mut effects = Effects::default();
        let mut frozen = self.slot.core().freeze(&self.slot, now);
        let looked = match frozen.look(self.place, waker, now, &mut effects) {
            Look::Granted(settled) => {
                self.pending = false;
                Looked::Granted(hold(&self.slot, settled))
            }
            Look::Waiting { due } => match self.deadline {
                Some(deadline) if deadline <= now => {
                    self.pending = false;
                    let (kind, except) = (ErrorKind::Timeout, Some(self.place));
                    let error = describe::in_the_way(kind, &frozen, except, self.site, now)
                        .with_waited(now.since(self.since));
                    frozen.withdraw(self.place, now, &mut effects);
                    Looked::TimedOut(error)
                }
                deadline => Looked::Waiting([deadline, due].into_iter().flatten().min()),
            },
        };
        self.slot.core().finish(frozen, effects);
        if !self.pending {
            self.edge = None;
            self.alarm = None;
        }
        looked
    }

    /// Waits on this thread, which sleeps until the deadline itself.
    pub(super) fn block(mut self) -> Result<SlotHold, LockError> {
        Parker::with(|parker| {
            loop {
                let until = match self.look(parker.waker()) {
                    Looked::Granted(hold) => return Ok(hold),
                    Looked::TimedOut(error) => return Err(error),
                    Looked::Waiting(until) => until,
                };
                let limit = until.map(|until| self.slot.core().clock.sleep_until(until));
                if limit == Some(None) {
                    self.set_alarm(until, parker.waker());
                }
                parker.park(limit.flatten());
            }
        })
    }

    /// Leaves the queue, because the wait would never end.
    fn refuse(mut self, cycle: Vec<crate::DeadlockStep>) -> Asked {
        // It may have been granted between being found and being refused.
        match self.look(Waker::noop()) {
            Looked::Granted(hold) => Asked::Granted(hold),
            Looked::TimedOut(error) => Asked::Refused(error),
            Looked::Waiting(_) => {
                let error = LockError::new(ErrorKind::Deadlock, self.slot.key());
                Asked::Refused(match self.site {
                    Some(site) => error.with_cycle(cycle).with_site(site),
                    None => error.with_cycle(cycle),
                })
            }
        }
    }

    fn set_alarm(&mut self, at: Option<Moment>, waker: &Waker) {
        if self.alarm.as_ref().map(Alarm::at) == at && at.is_none() {
            return;
        }
        self.alarm = at.map(|at| self.slot.core().clock.wake_at(at, waker.clone()));
    }
}

enum Looked {
    Granted(SlotHold),
    TimedOut(LockError),
    /// Until then at most.
    Waiting(Option<Moment>),
}

impl Future for Queued {
    type Output = Result<SlotHold, LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(self.pending, "polled after it had completed");
        match self.look(cx.waker()) {
            Looked::Granted(hold) => Poll::Ready(Ok(hold)),
            Looked::TimedOut(error) => Poll::Ready(Err(error)),
            Looked::Waiting(until) => {
                self.set_alarm(until, cx.waker());
                Poll::Pending
            }
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if !self.pending {
            return;
        }
        let now = self.slot.core().clock.now();
        let mut effects = Effects::default();
        let mut frozen = self.slot.core().freeze(&self.slot, now);
        frozen.withdraw(self.place, now, &mut effects);
        self.slot.core().finish(frozen, effects);
    }
}
