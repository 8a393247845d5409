use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::client::Client;
use super::clock::by;
use super::ending::is_refusal;
use super::held::Held;
use super::note;
use super::renewal::margin;
use super::waiting::Backoff;
use crate::{
    AcquisitionId, Claimed, EntryState, ErrorKind, LeaseClaim, LeaseEntry, LeaseStore, LockError,
    Moment, Renewed, Token, Wait,
};

type Step = Pin<Box<dyn Future<Output = Result<Claimed, LockError>> + Send>>;

/// One acquisition on its way to a grant. Dropped before that, it withdraws what it has asked
/// for, answered or not (C5).
pub(super) struct Pending<S: LeaseStore> {
    client: Arc<Client<S>>,
    claim: Arc<LeaseClaim>,
    /// The claim that is under way.
    step: Option<Step>,
    /// When the store was first asked for what it may by now have granted. A claim that is
    /// repeated need not extend the lease that the first one began.
    asked_at: Option<Moment>,
}

/// What there is to say when it is not granted.
struct Outlook {
    begun: Moment,
    deadline: Option<Moment>,
    /// When the store last answered.
    heard: Option<Moment>,
    in_the_way: Vec<LeaseEntry>,
}

impl<S: LeaseStore> Pending<S> {
    pub(super) fn new(client: &Arc<Client<S>>, claim: LeaseClaim) -> Self {
        Self { client: client.clone(), claim: Arc::new(claim), step: None, asked_at: None }
    }

    /// Asks until the store grants it; to the hold's name and token.
    ///
    /// # Errors
    /// `Contended` and `Timeout` as `wait` says, naming the holders that the store knows;
    /// `Unavailable` once the store has been silent for too long.
    pub(super) async fn granted(mut self, wait: Wait) -> Result<(u64, Token), LockError> {
        let client = self.client.clone();
        let (clock, key) = (&*client.clock, self.claim.keys[0].clone());
        let mut outlook = Outlook::new(clock.now(), wait);
        let mut backoff = Backoff::new(FIRST_PAUSE, client.longest_pause(), self.claim.id);
        let mut waiter = None;
        loop {
            let silent_at = outlook.silent_at(self.patience(&outlook));
            let limit = outlook.deadline.map_or(silent_at, |deadline| deadline.min(silent_at));
            let error = match by(clock, limit, self.ask()).await {
                Some(Ok(Claimed::Granted(token))) => match self.accept(token).await {
                    Ok(Some(id)) => return Ok((id, token)),
                    Ok(None) => continue,
                    Err(error) => Some(error),
                },
                Some(Ok(Claimed::Refused(refusal))) => {
                    self.asked_at = None;
                    outlook.heard = Some(clock.now());
                    outlook.in_the_way = refusal.in_the_way;
                    None
                }
                Some(Ok(Claimed::NotYet(left))) => {
                    let why = format!("nothing is granted for {left:?}");
                    return Err(
                        LockError::unavailable(&client.store.about().name, why).with_key(&*key)
                    );
                }
                Some(Err(error)) if is_refusal(&error) => {
                    self.asked_at = None;
                    return Err(error.with_key(&*key));
                }
                Some(Err(error)) => Some(error),
                None => Some(client.silent(limit.since(outlook.begun))),
            };
            let now = clock.now();
            let late = outlook.deadline.is_some_and(|deadline| now >= deadline);
            match error {
                Some(error) if now >= silent_at || late && outlook.heard.is_none() => {
                    return Err(error.with_key(&*key));
                }
                None if wait == Wait::No => {
                    return Err(outlook.refuse(ErrorKind::Contended, &key, now));
                }
                _ if late => return Err(outlook.refuse(ErrorKind::Timeout, &key, now)),
                _ => {}
            }
            client.listen();
            if waiter.is_none() && client.gives_hints() {
                // From here on no hint is missed, but one may have been.
                waiter = Some(client.waiters.join(&key));
                continue;
            }
            let until = now.after(outlook.look_again(backoff.next(), self.claim.steal_after));
            let until = outlook.deadline.map_or(until, |deadline| deadline.min(until));
            let waiter = waiter.get_or_insert_with(|| client.waiters.join(&key));
            waiter.pause(clock, until).await;
        }
    }

    /// Asks the store, or goes on waiting for the answer to what it was asked.
    async fn ask(&mut self) -> Result<Claimed, LockError> {
        let step = self.step.get_or_insert_with(|| {
            self.asked_at.get_or_insert(self.client.clock.now());
            let (client, claim) = (self.client.clone(), self.claim.clone());
            Box::pin(async move { client.store.claim(&claim).await })
        });
        let answer = poll_fn(|cx| step.as_mut().poll(cx)).await;
        self.step = None;
        answer
    }

    /// Takes the hold in. One whose validity is past already costs a renewal first (C8); if it
    /// is gone by then, `None`: it has to be claimed again, by another name.
    async fn accept(&mut self, token: Token) -> Result<Option<u64>, LockError> {
        let (client, claim) = (self.client.clone(), self.claim.clone());
        let mut sent = self.asked_at.expect("a grant follows a claim");
        while client.clock.now() >= sent.after(claim.lease - margin(claim.lease)) {
            sent = client.clock.now();
            let held = self.held(token, sent);
            if let Renewed::Gone(_) = client.renew_once(&held, false, client.settings.reach).await?
            {
                let fresh = LeaseClaim { id: AcquisitionId::unique(), ..(*claim).clone() };
                self.claim = Arc::new(fresh);
                self.asked_at = None;
                return Ok(None);
            }
        }
        self.asked_at = None;
        Ok(Some(client.take_in(self.held(token, sent))))
    }

    fn held(&self, token: Token, sent: Moment) -> Arc<Held> {
        Held::new(&self.claim, token, sent, self.client.clock.clone())
    }

    /// For how long the store may be silent: a request that is known to queue outlasts an
    /// interruption of one lease.
    fn patience(&self, outlook: &Outlook) -> Duration {
        let reach = self.client.settings.reach;
        if outlook.heard.is_some() { reach.max(self.claim.lease) } else { reach }
    }
}

/// After the first refusal; short, because most holds are.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

impl Outlook {
    fn new(begun: Moment, wait: Wait) -> Self {
        let deadline = match wait {
            Wait::AtMost(limit) => Some(begun.after(limit)),
            Wait::Forever | Wait::No => None,
        };
        Self { begun, deadline, heard: None, in_the_way: Vec::new() }
    }

    fn silent_at(&self, patience: Duration) -> Moment {
        self.heard.unwrap_or(self.begun).after(patience)
    }

    /// `pause`, or less if what is in the way ends or can be stolen sooner.
    fn look_again(&self, pause: Duration, steal_after: Option<Duration>) -> Duration {
        let changes = self.in_the_way.iter().flat_map(|entry| {
            let due = steal_after
                .filter(|_| entry.state == EntryState::Held)
                .and_then(|after| Some(after.saturating_sub(entry.age?)));
            [Some(entry.ends_in), due].into_iter().flatten()
        });
        changes.filter(|change| !change.is_zero()).fold(pause, Duration::min)
    }

    fn refuse(&mut self, kind: ErrorKind, key: &str, now: Moment) -> LockError {
        let (reserved, held): (Vec<_>, Vec<_>) =
            self.in_the_way.drain(..).partition(|entry| entry.state == EntryState::Reserved);
        LockError::new(kind, key)
            .with_holders(held.iter().map(note::holder).collect())
            .with_reserved_for(reserved.iter().map(|entry| entry.ends_in).max())
            .with_waited(now.since(self.begun))
    }
}

impl<S: LeaseStore> Drop for Pending<S> {
    fn drop(&mut self) {
        if self.asked_at.is_some() {
            let step = self.step.take();
            self.client.withdraw(&self.claim, step);
        }
    }
}
