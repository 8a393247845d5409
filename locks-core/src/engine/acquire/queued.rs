//! A request that waits, and how a request comes to wait.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::hold::ReleaseOnDrop;
use crate::clock::{Alarm, Moment};
use crate::engine::inspect::{Edge, Owners, describe};
use crate::engine::ports::lost_error;
use crate::engine::state::{
    Grant, HoldEntry, KeyAnswer, KeyRefusal, KeyRequest, Outcome, QueuePosition, Waiter,
};
use crate::engine::table::{Core, Frozen, Nesting, PinnedSlot, SlotHold};
use crate::error::permits_mismatch;
use crate::park::Parker;
use crate::{ErrorKind, LockError};

/// A request for one key, which may have to queue.
pub(crate) struct Queued {
    stage: QueuedStage,
    /// Since when it waits; from its first step on, unless it was given.
    since: Option<Moment>,
    deadline: Option<Moment>,
    /// Its time is over, and it is to be woken for the last time.
    sees_errand_out: bool,
    /// For the deadline.
    alarm: Option<Box<(Alarm, Waker)>>,
    edge: Option<Box<Edge>>,
    slot: PinnedSlot,
}

enum QueuedStage {
    /// It has not asked yet.
    Asking(Arc<Waiter>),
    /// It stands in the queue, or has a grant to take.
    Placed(Arc<Waiter>, QueuePosition),
    Over,
}

/// What comes of a step.
enum Stepped {
    Granted(SlotHold),
    Refused(LockError),
    /// It will be woken.
    Waiting,
}

impl Core {
    #[cold]
    fn refuse(&self, refusal: KeyRefusal, ask: &KeyRequest, frozen: &Frozen<'_>) -> LockError {
        let key = frozen.slot().key();
        match refusal {
            KeyRefusal::Contended => {
                describe::in_the_way(ErrorKind::Contended, frozen, None, ask.caller.site)
            }
            KeyRefusal::Own => describe::own(frozen, ask, None),
            KeyRefusal::Upgrade => {
                let why = "another shared holder is waiting to become exclusive already, and \
                           neither would ever let go; release the shared lock first";
                describe::own(frozen, ask, Some(why))
            }
            KeyRefusal::PermitsMismatch => permits_mismatch(key, ask.mode),
            KeyRefusal::NoUpgrade => {
                let why = "a shared hold cannot become exclusive here: release it first";
                LockError::unsupported(&self.about.name, "upgrade", why)
            }
            KeyRefusal::Lost(token, cause) => {
                lost_error(key, token, cause).with_holders(describe::holders(frozen))
            }
        }
    }
}

fn hold(slot: &PinnedSlot, Grant { token, level }: Grant) -> SlotHold {
    let nesting = if level == 0 { Nesting::Outermost } else { Nesting::Inner };
    SlotHold { slot: slot.slot_ref(), token, level, nesting }
}

impl Queued {
    /// Asks when it is first polled.
    pub(super) fn new(
        slot: PinnedSlot,
        ask: KeyRequest,
        since: Option<Moment>,
        deadline: Option<Moment>,
    ) -> Self {
        let stage = QueuedStage::Asking(Waiter::new(ask));
        Self { stage, since, deadline, sees_errand_out: false, alarm: None, edge: None, slot }
    }

    /// Asks, or looks whether it is granted; otherwise leaves `waker` to be woken with.
    fn step(&mut self, waker: &Waker) -> Stepped {
        loop {
            let stepped = match &self.stage {
                QueuedStage::Placed(waiter, _) => match waiter.take() {
                    Outcome::Waiting => self.look(waker),
                    Outcome::Granted(grant) => Some(self.granted(grant)),
                    Outcome::Revoked => self.ask_again(),
                },
                QueuedStage::Asking(_) => self.ask(waker),
                QueuedStage::Over => panic!("polled after it had completed"),
            };
            if let Some(stepped) = stepped {
                return stepped;
            }
        }
    }

    /// `None`: its time is over already, and it is to look once.
    fn ask(&mut self, waker: &Waker) -> Option<Stepped> {
        let QueuedStage::Asking(mut waiter) = std::mem::replace(&mut self.stage, QueuedStage::Over)
        else {
            unreachable!("it has not asked");
        };
        let core = self.slot.core();
        if self.deadline.is_none()
            && self.slot.is_waited_for()
            && waiter.plain.is_some()
            && let now = core.clock.about_now()
            && let blocks = waiter.ask.caller.blocks()
            && let enter = (|place| Edge::enter(&self.slot, place, blocks))
            && let Some((place, holder, edge)) =
                self.slot.join(&mut waiter, waker.clone(), now, enter)
        {
            self.since.get_or_insert(now);
            self.stage = QueuedStage::Placed(waiter, place);
            self.edge = edge;
            return Some(self.search(&holder.into_iter().collect()));
        }
        let waker = waker.clone();
        let (answer, mut frozen) = loop {
            let drawn = core.tokens.is_some().then(|| core.token_above(self.slot.last_token()));
            let mut frozen = core.freeze(&self.slot);
            drawn.into_iter().for_each(|token| frozen.add_token(token));
            match frozen.ask(&mut waiter) {
                KeyAnswer::NoToken => {}
                answer => break (answer, frozen),
            }
        };
        let now = frozen.now();
        self.since.get_or_insert(now);
        let place = match answer {
            KeyAnswer::Queued(place) => place,
            KeyAnswer::Granted(grant) => {
                let kept = ReleaseOnDrop::new(core, hold(&self.slot, grant));
                drop(frozen);
                return Some(Stepped::Granted(kept.hand_on()));
            }
            KeyAnswer::Refused(refusal) => {
                return Some(Stepped::Refused(core.refuse(refusal, &waiter.ask, &frozen)));
            }
            KeyAnswer::NoToken => unreachable!("asked until there was one"),
        };
        frozen.leave(place, waker);
        if !waiter.ask.waits {
            self.sees_errand_out = frozen.sees_errand_out(place);
            if !self.sees_errand_out {
                let refused = core.refuse(KeyRefusal::Contended, &waiter.ask, &frozen);
                frozen.withdraw(place, &waiter);
                return Some(Stepped::Refused(refused));
            }
            // It waits for nobody, so there is no cycle to look for.
            self.stage = QueuedStage::Placed(waiter, place);
            return Some(Stepped::Waiting);
        }
        self.edge = Edge::enter(&self.slot, place, waiter.ask.caller.blocks());
        frozen.complete();
        let owners = frozen.holds().iter().flat_map(HoldEntry::runs_as).collect();
        self.stage = QueuedStage::Placed(waiter, place);
        drop(frozen);
        let is_late = self.deadline.is_some_and(|deadline| deadline <= now);
        let searched = self.search(&owners);
        (!is_late || !matches!(searched, Stepped::Waiting)).then_some(searched)
    }

    /// It has queued, behind these: now it is seen whether that wait could end (C10).
    fn search(&mut self, holders: &Owners) -> Stepped {
        let Some(Err(cycle)) = self.edge.as_ref().map(|edge| edge.search(holders)) else {
            return Stepped::Waiting;
        };
        let stage = std::mem::replace(&mut self.stage, QueuedStage::Over);
        self.edge = None;
        let error = LockError::new(ErrorKind::Deadlock, self.slot.key()).with_cycle(cycle);
        let QueuedStage::Placed(waiter, _) = stage else { return Stepped::Refused(error) };
        Stepped::Refused(match waiter.ask.caller.site {
            Some(site) => error.with_site(site),
            None => error,
        })
    }

    fn look(&mut self, waker: &Waker) -> Option<Stepped> {
        // It keeps its place while it looks, to be given up should the clock panic.
        let QueuedStage::Placed(waiter, place) = &self.stage else {
            unreachable!("it has a place")
        };
        if self.deadline.is_none()
            && self.slot.is_waited_for()
            && self.slot.stay(*place, waker.clone())
        {
            return Some(Stepped::Waiting);
        }
        let waker = waker.clone();
        let mut frozen = self.slot.core().freeze(&self.slot);
        let now = frozen.now();
        match frozen.look(*place, waiter, waker) {
            Outcome::Granted(grant) => {
                self.stage = QueuedStage::Over;
                let kept = ReleaseOnDrop::new(self.slot.core(), hold(&self.slot, grant));
                drop(frozen);
                (self.edge, self.alarm) = (None, None);
                Some(Stepped::Granted(kept.hand_on()))
            }
            Outcome::Waiting if self.deadline.is_some_and(|at| at <= now) || !waiter.ask.waits => {
                if frozen.sees_errand_out(*place) {
                    self.sees_errand_out = true;
                    return Some(Stepped::Waiting);
                }
                let (site, waits) = (waiter.ask.caller.site, waiter.ask.waits);
                let kind = if waits { ErrorKind::Timeout } else { ErrorKind::Contended };
                let error = describe::in_the_way(kind, &frozen, Some(*place), site);
                frozen.withdraw(*place, waiter);
                self.stage = QueuedStage::Over;
                drop(frozen);
                (self.edge, self.alarm) = (None, None);
                let waited = now.since(self.since.unwrap_or(now));
                Some(Stepped::Refused(if waits { error.with_waited(waited) } else { error }))
            }
            Outcome::Waiting => Some(Stepped::Waiting),
            Outcome::Revoked => {
                drop(frozen);
                self.ask_again()
            }
        }
    }

    fn granted(&mut self, grant: Grant) -> Stepped {
        self.stage = QueuedStage::Over;
        let kept = ReleaseOnDrop::new(self.slot.core(), hold(&self.slot, grant));
        (self.edge, self.alarm) = (None, None);
        Stepped::Granted(kept.hand_on())
    }

    /// It has had the key without knowing it, and lost it (C8).
    fn ask_again(&mut self) -> Option<Stepped> {
        if let QueuedStage::Placed(waiter, _) = &self.stage {
            let ask = KeyRequest { requested_at: Some(waiter.since), ..waiter.ask.clone() };
            self.stage = QueuedStage::Asking(Waiter::new(ask));
            (self.edge, self.sees_errand_out) = (None, false);
        }
        None
    }

    /// Waits on this thread, which sleeps until its deadline, and until its steal is due, by
    /// itself.
    pub(super) fn block(mut self) -> Result<SlotHold, LockError> {
        Parker::with(|parker| {
            loop {
                match self.step(parker.waker()) {
                    Stepped::Granted(hold) => return Ok(hold),
                    Stepped::Refused(error) => return Err(error),
                    Stepped::Waiting => {}
                }
                let until = [self.deadline, self.due()].into_iter().flatten().min();
                let limit = until.map(|until| self.slot.core().clock.sleep_until(until));
                if limit == Some(None) {
                    self.set_alarm(parker.waker());
                }
                parker.park(limit.flatten());
            }
        })
    }

    /// When its steal is due.
    fn due(&self) -> Option<Moment> {
        let QueuedStage::Placed(waiter, place) = &self.stage else { return None };
        waiter.ask.steal_after?;
        self.slot.core().freeze(&self.slot).due_at(*place)
    }

    /// Has the task woken at the deadline.
    fn set_alarm(&mut self, waker: &Waker) {
        let Some(deadline) = self.deadline.filter(|_| !self.sees_errand_out) else { return };
        // One of the parent's rings for nobody here (C4).
        let is_set = |alarm: &(Alarm, Waker)| !alarm.0.is_inherited() && alarm.1.will_wake(waker);
        if !self.alarm.as_deref().is_some_and(is_set) {
            let alarm = self.slot.core().clock.wake_at(deadline, waker.clone());
            self.alarm = Some(Box::new((alarm, waker.clone())));
        }
    }
}

impl Future for Queued {
    type Output = Result<SlotHold, LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.step(cx.waker()) {
            Stepped::Granted(hold) => Poll::Ready(Ok(hold)),
            Stepped::Refused(error) => Poll::Ready(Err(error)),
            Stepped::Waiting => {
                self.set_alarm(cx.waker());
                Poll::Pending
            }
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if let QueuedStage::Placed(waiter, place) =
            std::mem::replace(&mut self.stage, QueuedStage::Over)
        {
            let slot = &self.slot;
            slot.core().freeze(slot).withdraw(place, &waiter);
        }
    }
}
