use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use locks_core::{
    AcquisitionId, Capabilities, Claimed, ErrorKind, LeaseClaim, LeaseEnd, LeaseEnding, LeaseEntry,
    LeasePlace, LeaseRenewal, LeaseStore, LockError, LostCause, Mode, Query, Refusal, Renewed,
    Token, WaiterOrder,
};

use super::StoreFixture;
use crate::pending::Driven;

/// Longer than any case takes, on whatever machine.
const LONG: Duration = Duration::from_secs(3600);

/// The two clients of a fixture in the hands of a case.
#[derive(Clone)]
pub(super) struct Stores {
    fixture: Arc<dyn StoreFixture>,
    pub(super) ours: Client,
    pub(super) theirs: Client,
}

/// A client of the store, asked step by step.
#[derive(Clone)]
pub(super) struct Client {
    store: Arc<dyn LeaseStore>,
    fixture: Arc<dyn StoreFixture>,
    /// How long all steps of the case have taken, in nanoseconds.
    spent: Arc<AtomicU64>,
}

impl Stores {
    pub(super) fn new(fixture: Arc<dyn StoreFixture>) -> Self {
        let spent = Arc::new(AtomicU64::new(0));
        let client = |store| Client { store, fixture: fixture.clone(), spent: spent.clone() };
        let (ours, theirs) = (client(fixture.store()), client(fixture.rival()));
        Self { fixture, ours, theirs }
    }

    pub(super) fn can(&self) -> Capabilities {
        self.ours.store.about().capabilities
    }

    /// Whether there is one queue for all clients.
    pub(super) fn queues(&self) -> bool {
        self.can().order == WaiterOrder::All
    }

    pub(super) fn fixture(&self) -> &dyn StoreFixture {
        &*self.fixture
    }

    pub(super) fn client(&self, store: Arc<dyn LeaseStore>) -> Client {
        Client { store, ..self.ours.clone() }
    }

    /// The clients in turn.
    pub(super) fn turns(&self, turn: usize) -> &Client {
        if turn.is_multiple_of(2) { &self.ours } else { &self.theirs }
    }

    // Time.

    pub(super) fn unit(&self) -> Duration {
        self.fixture.tick() * 20
    }

    pub(super) fn late(&self) -> Duration {
        self.fixture.tick() * 3
    }

    pub(super) fn now(&self) -> Duration {
        self.fixture.now()
    }

    pub(super) fn advance(&self, by: Duration) {
        self.fixture.advance(by);
    }

    /// The claim has to be refused for `after` since the time `since`, and to be granted then.
    #[track_caller]
    pub(super) fn due(
        &self,
        client: &Client,
        claim: &LeaseClaim,
        since: Duration,
        after: Duration,
    ) -> Token {
        let at = |after: Duration| (since + after).saturating_sub(self.now());
        self.advance(at(after.saturating_sub(self.fixture.tick())));
        if let Claimed::Granted(token) | Claimed::Stolen { token, .. } = client.claim(claim) {
            // Where the clock cannot be set the sleep may have taken too long.
            let at = self.now() - since;
            assert!(at >= after, "it came by {at:?}, and was due after {after:?}");
            return token;
        }
        // What it counts from may be as much later as the steps have taken.
        let spent = Duration::from_nanos(self.ours.spent.load(Ordering::Relaxed));
        self.advance(at(after + self.late() + spent));
        client.granted(claim)
    }
}

impl Client {
    #[track_caller]
    fn finish<F: Future>(&self, mut step: Driven<F>, what: &str) -> F::Output {
        let since = self.fixture.now();
        let done = step.finish(self.fixture.patience(), what);
        let took = self.fixture.now().saturating_sub(since);
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.spent.fetch_add(took, Ordering::Relaxed);
        done
    }

    #[track_caller]
    pub(super) fn ask(&self, claim: &LeaseClaim) -> Result<Claimed, LockError> {
        self.finish(Driven::new(self.store.claim(claim)), "the claim")
    }

    #[track_caller]
    pub(super) fn claim(&self, claim: &LeaseClaim) -> Claimed {
        self.ask(claim).unwrap_or_else(|error| panic!("the claim failed: {error:?}"))
    }

    #[track_caller]
    pub(super) fn granted(&self, claim: &LeaseClaim) -> Token {
        match self.claim(claim) {
            Claimed::Granted(token) | Claimed::Stolen { token, .. } => token,
            other => panic!("not granted: {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn refused(&self, claim: &LeaseClaim) -> Refusal {
        match self.claim(claim) {
            Claimed::Refused(refusal) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn mismatch(&self, claim: &LeaseClaim) {
        let error = self.ask(claim).expect_err("locks and permits do not mix");
        assert_eq!(error.kind(), ErrorKind::PermitsMismatch, "{error:?}");
    }

    /// A claim of `key` that nothing is in the way of, ended at once.
    #[track_caller]
    pub(super) fn passes(&self, key: &str) -> Token {
        let claim = exclusive(key);
        let token = self.granted(&claim);
        assert!(self.release(&claim), "it was held");
        token
    }

    #[track_caller]
    pub(super) fn renew_all(&self, renewals: &[LeaseRenewal]) -> Vec<Renewed> {
        let renewed = self.finish(Driven::new(self.store.renew(renewals)), "the renewal");
        renewed.unwrap_or_else(|error| panic!("the renewal failed: {error:?}"))
    }

    #[track_caller]
    pub(super) fn renew(&self, claim: &LeaseClaim) -> Renewed {
        let renewed = self.renew_all(&[renewal(claim)]);
        assert_eq!(renewed.len(), 1, "one answer to one renewal");
        renewed[0]
    }

    /// Renews what has to be there.
    #[track_caller]
    pub(super) fn keeps(&self, claim: &LeaseClaim) {
        assert_eq!(self.renew(claim), Renewed::Kept);
    }

    /// Renews what may not be there; to how it has ended.
    #[track_caller]
    pub(super) fn gone(&self, claim: &LeaseClaim) -> LostCause {
        match self.renew(claim) {
            Renewed::Gone(cause) => cause,
            other => panic!("{other:?} although it is gone"),
        }
    }

    /// Renews what was lost by this cause, which the store may have forgotten.
    #[track_caller]
    pub(super) fn lost(&self, claim: &LeaseClaim, by: LostCause) {
        let told = self.gone(claim);
        assert!(told == by || told == LostCause::Forgotten, "lost by {by:?}, and not by {told:?}");
    }

    #[track_caller]
    pub(super) fn end(&self, ending: &LeaseEnding) -> bool {
        let ended = self.finish(Driven::new(self.store.end(ending)), "the end");
        ended.unwrap_or_else(|error| panic!("the end failed: {error:?}"))
    }

    #[track_caller]
    pub(super) fn release(&self, claim: &LeaseClaim) -> bool {
        self.end(&ending(claim, LeaseEnd::Release { reserve: true }))
    }

    /// Ends `part` and renews all of `set` at the same time, whatever comes of the renewal.
    #[track_caller]
    pub(super) fn release_beside_a_renewal(
        &self,
        part: &LeaseClaim,
        set: &LeaseClaim,
        renews_first: bool,
    ) {
        let (ending, renewals) =
            (ending(part, LeaseEnd::Release { reserve: true }), [renewal(set)]);
        let mut end = Driven::new(async { self.store.end(&ending).await });
        let mut renewal = Driven::new(async { self.store.renew(&renewals).await });
        let (early, ended) = if renews_first {
            (renewal.poll(), end.poll())
        } else {
            let ended = end.poll();
            (renewal.poll(), ended)
        };
        let ended = match ended {
            Poll::Ready(ended) => ended,
            Poll::Pending => self.finish(end, "the end"),
        };
        assert!(ended.unwrap_or_else(|error| panic!("the end failed: {error:?}")), "it was held");
        if early.is_pending() {
            let renewed = self.finish(renewal, "the renewal");
            renewed.unwrap_or_else(|error| panic!("the renewal failed: {error:?}"));
        }
    }

    #[track_caller]
    pub(super) fn remove(&self, claim: &LeaseClaim) -> bool {
        self.end(&ending(claim, LeaseEnd::Remove))
    }

    /// What is listed; `None` if the store lists nothing.
    #[track_caller]
    pub(super) fn list(&self, query: &Query) -> Option<Vec<LeaseEntry>> {
        if !self.store.about().capabilities.listing {
            return None;
        }
        let listed = self.finish(Driven::new(self.store.list(query)), "the list");
        Some(listed.unwrap_or_else(|error| panic!("the list failed: {error:?}")))
    }

    #[track_caller]
    pub(super) fn entries(&self, key: &str) -> Option<Vec<LeaseEntry>> {
        self.list(&Query::Key(key.to_owned()))
    }
}

/// A claim by a new acquisition, with a lease that does not run out.
pub(super) fn exclusive(key: &str) -> LeaseClaim {
    LeaseClaim::new(key, AcquisitionId::unique(), LONG)
}

pub(super) fn all<const N: usize>(keys: [&str; N]) -> LeaseClaim {
    LeaseClaim::all(keys, AcquisitionId::unique(), LONG)
}

pub(super) fn shared(key: &str) -> LeaseClaim {
    with(exclusive(key), |claim| claim.mode = Mode::Shared)
}

pub(super) fn permit(key: &str, of: u32) -> LeaseClaim {
    with(exclusive(key), |claim| claim.mode = Mode::Permit { take: 1, of })
}

/// The claim, changed.
pub(super) fn with(mut claim: LeaseClaim, change: impl FnOnce(&mut LeaseClaim)) -> LeaseClaim {
    change(&mut claim);
    claim
}

/// The claim of a request that has waited for so long and goes on waiting.
pub(super) fn placed(claim: LeaseClaim, waited: Duration) -> LeaseClaim {
    with(claim, |claim| claim.place = Some(LeasePlace::new(waited, LONG)))
}

pub(super) fn renewal(claim: &LeaseClaim) -> LeaseRenewal {
    LeaseRenewal::new(claim.keys.clone(), claim.id, claim.lease)
}

pub(super) fn ending(claim: &LeaseClaim, how: LeaseEnd) -> LeaseEnding {
    LeaseEnding::new(claim.keys.clone(), claim.id, how)
}
