use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::client::Client;
use super::clock::by;
use super::ending::is_refusal;
use super::holds::LeasedHold;
use super::outlook::{Outlook, about};
use super::renewal::margin;
use super::waiting::Backoff;
use crate::{
    AcquisitionId, Claimed, LeaseClaim, LeaseEntry, LeaseRenewal, LeaseStore, LockError, Moment,
    Renewed, Token, Wait,
};

/// One acquisition on its way to a grant. Dropped before that, it withdraws what it has asked
/// for, answered or not (C5).
///
/// P1: what the store may have of it (a hold, a place) is withdrawn, unless it is certain that
/// there is nothing: each step was answered, and the last answer left nothing behind.
pub(super) struct Pending<S: LeaseStore> {
    client: Arc<Client<S>>,
    claim: Arc<LeaseClaim>,
    begun: Moment,
    /// For how long it had waited before, within the process.
    waited: Duration,
    /// The step that is under way, and when it was sent.
    step: Option<Step>,
    sent: Moment,
    /// A step was sent of which it is not known what came of it.
    unknown: bool,
    /// It has a place in the store's queue.
    placed: bool,
    /// What the store may have granted it has begun at this time at the earliest. A claim that is
    /// repeated need not extend the lease that the first one began, and one whose answer was lost
    /// may be carried out late.
    since: Option<Moment>,
    /// When the lease was last extended by a renewal, if it was.
    renewed: Option<Moment>,
    granted: Option<Token>,
    /// How often it was granted, and its own bound was over when that was heard of.
    too_late: u32,
    stolen_from: Vec<LeaseEntry>,
}

type Step = Pin<Box<dyn Future<Output = Result<StepAnswer, LockError>> + Send>>;

enum StepAnswer {
    Claimed(Claimed),
    Renewed(Renewed),
}

/// After the first refusal; short, because most holds are.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// How often a request is granted what is over by its own bound before it is handed that (C8): the
/// process may have been stopped once, but then the bound is shorter than the way to the store.
const TOO_LATE: u32 = 3;

impl<S: LeaseStore> Pending<S> {
    pub(super) fn new(client: &Arc<Client<S>>, claim: LeaseClaim, waited: Duration) -> Self {
        let begun = client.clock.now();
        Self {
            client: client.clone(),
            claim: Arc::new(claim),
            begun,
            waited,
            step: None,
            sent: begun,
            unknown: false,
            placed: false,
            since: None,
            renewed: None,
            granted: None,
            too_late: 0,
            stolen_from: Vec::new(),
        }
    }

    /// Asks until the store grants it; to the hold's name and token.
    ///
    /// # Errors
    /// `Contended` and `Timeout` as `wait` says, naming the holders that the store knows;
    /// `Unavailable` once the store has been silent for too long, or grants nothing to anybody.
    pub(super) async fn granted(mut self, wait: Wait) -> Result<(u64, Token), LockError> {
        let client = self.client.clone();
        let (clock, keys) = (&*client.clock, self.claim.keys.clone());
        let (connect, lease) = (client.settings.connect, self.claim.lease);
        self.begun = clock.now();
        let mut outlook = Outlook::new(self.begun, wait, self.waited, connect, lease);
        let mut backoff = Backoff::new(FIRST_PAUSE, client.longest_pause(), self.claim.id);
        let mut waiter = None;
        if !outlook.tries && (client.hints || client.queues()) {
            // Before the first claim, so that no hint is missed between its answer and the wait.
            client.listen();
            waiter = Some(client.waiters.join(&keys, self.claim.id));
        }
        loop {
            outlook.asked(clock.now());
            let answer = by(clock, outlook.limit(), self.ask()).await;
            let now = clock.now();
            match answer {
                Some(Ok(Some(Claimed::Granted(token) | Claimed::Stolen { token, .. }))) => {
                    return Ok((self.take_in(token), token));
                }
                Some(Ok(Some(Claimed::Refused(refusal)))) => {
                    outlook.refused(refusal, self.sent, now);
                }
                Some(Ok(Some(Claimed::NotYet(left)))) => outlook.not_before(now.after(left), now),
                Some(Ok(None)) => {
                    outlook.granted_in_vain(now);
                    continue;
                }
                Some(Err(error)) if is_refusal(&error) => {
                    return Err(about(&keys[0], error));
                }
                Some(Err(error)) => outlook.failed(error),
                None => {}
            }
            if let Some(error) = outlook.verdict(client.name(), &keys[0], now) {
                return Err(error);
            }
            let called = client.hints.then(|| client.longest_pause());
            let steal_after = self.claim.steal_after;
            let until = outlook.look_again(now, || backoff.next(), called, steal_after);
            let waiter = waiter.get_or_insert_with(|| client.waiters.join(&keys, self.claim.id));
            waiter.pause(clock, until).await;
        }
    }

    /// Asks the store, or goes on waiting for the answer to what it was asked. A grant whose
    /// validity is past costs a renewal first (C8); if it is gone by then, it is claimed anew, by
    /// another name. `None` if it is to be, because its longest time was over (C14).
    async fn ask(&mut self) -> Result<Option<Claimed>, LockError> {
        let validity = self.claim.lease - margin(self.claim.lease);
        loop {
            let now = self.client.clock.now();
            if let (Some(token), Some(since)) = (self.granted, self.since) {
                if self.claim.hold_at_most.is_some_and(|most| since.after(most) <= now) {
                    self.too_late += 1;
                    if self.too_late >= TOO_LATE {
                        return Ok(Some(Claimed::Granted(token)));
                    }
                    self.claim_anew();
                    return Ok(None);
                } else if now < self.renewed.unwrap_or(since).after(validity) {
                    return Ok(Some(Claimed::Granted(token)));
                }
            }
            let step = match &mut self.step {
                Some(step) => step,
                None => {
                    self.sent = now;
                    self.since.get_or_insert(now);
                    let step = self.next_step(now);
                    self.step.insert(step)
                }
            };
            let answer = poll_fn(|cx| step.as_mut().poll(cx)).await;
            self.step = None;
            match answer {
                Ok(StepAnswer::Claimed(Claimed::Granted(token))) => self.granted = Some(token),
                Ok(StepAnswer::Claimed(Claimed::Stolen { token, from })) => {
                    self.granted = Some(token);
                    self.stolen_from = from;
                }
                Ok(StepAnswer::Claimed(refused)) => {
                    self.placed = matches!(&refused, Claimed::Refused(refusal) if refusal.placed);
                    // It was not held when this was answered, but an earlier claim may come yet.
                    self.since = self.unknown.then_some(self.sent);
                    self.renewed = None;
                    return Ok(Some(refused));
                }
                Ok(StepAnswer::Renewed(Renewed::Kept)) => self.renewed = Some(self.sent),
                Ok(StepAnswer::Renewed(Renewed::Gone(_))) => self.claim_anew(),
                Ok(StepAnswer::Renewed(Renewed::Unknown)) => return Err(self.client.unknown()),
                Err(error) => {
                    self.unknown |= !is_refusal(&error);
                    return Err(error);
                }
            }
        }
    }

    fn next_step(&mut self, now: Moment) -> Step {
        let client = self.client.clone();
        if self.granted.is_some() {
            let (keys, id) = (self.claim.keys.clone(), self.claim.id);
            let steps = [LeaseRenewal::new(keys, id, self.claim.lease)];
            return Box::pin(async move {
                let renewed = client.renew(&steps, client.settings.connect).await?;
                Ok(StepAnswer::Renewed(renewed[0]))
            });
        }
        let waited = self.waited + now.since(self.begun);
        if let Some(place) = &mut Arc::make_mut(&mut self.claim).place {
            place.waited = waited;
        }
        let claim = self.claim.clone();
        client.holds.claimed(&claim.keys);
        Box::pin(async move {
            let claimed = client.unbounded_step(|| client.store.claim(&claim)).await?;
            Ok(StepAnswer::Claimed(claimed))
        })
    }

    fn take_in(&mut self, token: Token) -> u64 {
        let since = self.since.expect("a grant follows a claim");
        (self.granted, self.unknown, self.placed) = (None, false, false);
        let extended = self.renewed.unwrap_or(since);
        let mut hold = LeasedHold::new(&self.claim, token, since, extended);
        hold.stolen_from = std::mem::take(&mut self.stolen_from);
        self.client.take_in(hold)
    }

    /// Gives up what was granted, to be claimed by another name.
    fn claim_anew(&mut self) {
        self.withdraw();
        Arc::make_mut(&mut self.claim).id = AcquisitionId::unique();
    }

    /// P1, and from here on there is nothing.
    fn withdraw(&mut self) {
        let step = self.step.take();
        if self.granted.is_some() || self.unknown || self.placed || step.is_some() {
            self.client.withdraw(&self.claim, step);
        }
        (self.granted, self.unknown, self.placed) = (None, false, false);
        (self.since, self.renewed) = (None, None);
    }
}

impl<S: LeaseStore> Drop for Pending<S> {
    fn drop(&mut self) {
        self.withdraw();
    }
}
