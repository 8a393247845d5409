//! A request that waits, and how a request comes to wait.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::effects::Effects;
use super::graph::{Edge, Graph};
use super::pin::Pinned;
use super::slot::Frozen;
use super::state::{Answer, Ask, Look, Place, Refusal, Settled, Waiter};
use super::{Core, describe};
use crate::backend::{Nested, SlotHold};
use crate::clock::{Alarm, Moment};
use crate::error::permits_mismatch;
use crate::park::Parker;
use crate::{ErrorKind, Hold, LockError, Op};

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
    Further(Op<'static, Hold>),
}

impl Future for Waiting {
    type Output = Result<Hold, LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Waiting::One(queued) => Pin::new(queued).poll(cx).map_ok(Hold::slot),
            Waiting::Further(op) => Pin::new(op).poll(cx),
        }
    }
}

impl Waiting {
    /// Waits on this thread.
    pub(super) fn block(self) -> Result<Hold, LockError> {
        match self {
            Waiting::One(queued) => queued.block().map(Hold::slot),
            Waiting::Further(op) => op.block(),
        }
    }
}

/// A request for one key, which may have to queue.
pub(crate) struct Queued {
    slot: Pinned,
    stage: Stage,
    /// Since when it waits; from its first step on, unless it was given.
    since: Option<Moment>,
    deadline: Option<Moment>,
    alarm: Option<Alarm>,
    edge: Option<Edge>,
}

enum Stage {
    /// It has not asked yet.
    Asking(Box<Waiter>),
    /// It stands in the queue, or has a grant to fetch.
    Placed(Place),
    Over,
}

/// What comes of a step.
enum Stepped {
    Granted(SlotHold),
    Refused(LockError),
    /// It will be woken; until then at most.
    Waiting(Option<Moment>),
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
            Refusal::PermitsMismatch => permits_mismatch(key, ask.mode),
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
    /// Asks when it is first polled.
    pub(super) fn new(
        slot: Pinned,
        ask: Ask,
        since: Option<Moment>,
        deadline: Option<Moment>,
    ) -> Self {
        let stage = Stage::Asking(Waiter::new(ask));
        Self { slot, stage, since, deadline, alarm: None, edge: None }
    }

    /// Asks or looks whether it is granted; otherwise leaves `waker` to be woken with.
    fn step(&mut self, waker: &Waker) -> Stepped {
        // A place is kept while it looks, to be given up should a waker or the clock panic.
        if let Stage::Placed(place) = self.stage {
            return self.look(place, waker);
        }
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Asking(waiter) => self.ask(waiter, waker),
            Stage::Placed(_) | Stage::Over => panic!("polled after it had completed"),
        }
    }

    fn ask(&mut self, waiter: Box<Waiter>, waker: &Waker) -> Stepped {
        let core = self.slot.core();
        let now = core.clock.now();
        self.since.get_or_insert(now);
        let within = waiter.ask.caller.blocks();
        let mut effects = Effects::default();
        let mut frozen = core.freeze(&self.slot, now);
        let place = match frozen.ask(waiter, now, &mut effects) {
            Answer::Granted(settled) => {
                core.finish(frozen, effects);
                return Stepped::Granted(hold(&self.slot, settled));
            }
            Answer::Refused(refusal, waiter) => {
                let error = core.refuse(refusal, &waiter.ask, &frozen, now);
                core.finish(frozen, effects);
                return Stepped::Refused(error);
            }
            Answer::Queued(place) => place,
        };
        self.stage = Stage::Placed(place);
        frozen.leave(place, waker);
        let due = frozen.due_at(place, now);
        core.finish(frozen, effects);
        if !within.is_empty() {
            match Graph::enter(core, &self.slot, place, &within) {
                Ok(edge) => self.edge = Some(edge),
                Err(cycle) => return self.refuse(place, cycle),
            }
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return self.look(place, waker);
        }
        Stepped::Waiting(earliest(self.deadline, due))
    }

    fn look(&mut self, place: Place, waker: &Waker) -> Stepped {
        let core = self.slot.core();
        let mut frozen = self.slot.frozen();
        if let Some(settled) = frozen.fetch(place) {
            core.finish(frozen, Effects::default());
            let granted = hold(&self.slot, settled);
            self.done();
            return Stepped::Granted(granted);
        }
        let now = core.clock.now();
        let mut effects = Effects::default();
        let (stepped, done) = match frozen.look(place, waker, now, &mut effects) {
            Look::Granted(settled) => (Stepped::Granted(hold(&self.slot, settled)), true),
            Look::Waiting { .. } if self.deadline.is_some_and(|deadline| deadline <= now) => {
                let kind = ErrorKind::Timeout;
                let site = frozen.waiter(place).and_then(|waiter| waiter.ask.caller.site);
                let waited = now.since(self.since.unwrap_or(now));
                let error = describe::in_the_way(kind, &frozen, Some(place), site, now);
                frozen.withdraw(place, now, &mut effects);
                (Stepped::Refused(error.with_waited(waited)), true)
            }
            Look::Waiting { due } => (Stepped::Waiting(earliest(self.deadline, due)), false),
        };
        core.finish(frozen, effects);
        if done {
            self.done();
        }
        stepped
    }

    /// Waits on this thread, which sleeps until the deadline itself.
    pub(super) fn block(mut self) -> Result<SlotHold, LockError> {
        Parker::with(|parker| {
            loop {
                let until = match self.step(parker.waker()) {
                    Stepped::Granted(hold) => return Ok(hold),
                    Stepped::Refused(error) => return Err(error),
                    Stepped::Waiting(until) => until,
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
    fn refuse(&mut self, place: Place, cycle: Vec<crate::DeadlockStep>) -> Stepped {
        // It may have been granted between being found and being refused.
        let stepped = self.look(place, Waker::noop());
        if !matches!(stepped, Stepped::Waiting(_)) {
            return stepped;
        }
        let site = self.withdraw(place);
        let error = LockError::new(ErrorKind::Deadlock, self.slot.key()).with_cycle(cycle);
        Stepped::Refused(match site {
            Some(site) => error.with_site(site),
            None => error,
        })
    }

    /// Gives its place up, or the grant that it has not fetched; says where it was asked for.
    fn withdraw(&mut self, place: Place) -> Option<crate::CallSite> {
        let core = self.slot.core();
        let now = core.clock.now();
        let mut effects = Effects::default();
        let mut frozen = core.freeze(&self.slot, now);
        let site = frozen.waiter(place).and_then(|waiter| waiter.ask.caller.site);
        frozen.withdraw(place, now, &mut effects);
        core.finish(frozen, effects);
        self.done();
        site
    }

    fn done(&mut self) {
        self.stage = Stage::Over;
        self.edge = None;
        self.alarm = None;
    }

    fn set_alarm(&mut self, at: Option<Moment>, waker: &Waker) {
        if self.alarm.is_none() && at.is_none() {
            return;
        }
        self.alarm = at.map(|at| self.slot.core().clock.wake_at(at, waker.clone()));
    }
}

fn earliest(one: Option<Moment>, other: Option<Moment>) -> Option<Moment> {
    [one, other].into_iter().flatten().min()
}

impl Future for Queued {
    type Output = Result<SlotHold, LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.step(cx.waker()) {
            Stepped::Granted(hold) => Poll::Ready(Ok(hold)),
            Stepped::Refused(error) => Poll::Ready(Err(error)),
            Stepped::Waiting(until) => {
                self.set_alarm(until, cx.waker());
                Poll::Pending
            }
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if let Stage::Placed(place) = self.stage {
            self.withdraw(place);
        }
    }
}
