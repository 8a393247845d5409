//! A claim.
//!
//! What a transaction of etcd can compare decides the usual cases in one step: nothing there, or
//! nothing ahead of one's place. All others are decided here, by what the step has found, and
//! carried out by a second one on condition that nothing was added meanwhile.
//!
//! A grant's lease runs for its whole length from the claim on. So it is kept alive beside the
//! transaction, unless the [`SPARE`] of a lease that was used a moment ago covers that.

mod decide;
mod grant;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use locks_core::{
    BootClock, Claimed, Clock as _, ErrorKind, LeaseClaim, LeaseEntry, LockError, Mode, Moment,
    Reserve, Token,
};
use tonic::Status;

use crate::etcd::client::{Acquisition, Client, Lease};
use crate::etcd::clock::{Clock, Instant};
use crate::etcd::cluster::{Cluster, EtcdConnection, failed};
use crate::etcd::fault::is_lease_gone;
use crate::etcd::layout::{EtcdLayout, Kind};
use crate::etcd::record::Record;
use crate::etcd::standing::Standing;
use crate::etcd::txn;
use crate::etcd::wire::{Compare, Header, Operation, TxnRequest, TxnResponse};
use crate::link::{Connected, Link};

/// How often what was found may turn out to have changed before that is an error: the adapter asks
/// again.
const ROUNDS: u32 = 32;
/// How many seconds a lease has more than was asked for: for as long after it was last kept alive
/// it need not be once more.
const SPARE: u64 = 1;
/// For how long a reservation's lease outlives it.
const BROOM: Duration = Duration::from_secs(3);
/// The most seconds of a lease: a century is for ever, and etcd takes no more than three.
const LONGEST: u64 = 3_000_000_000;

/// A claim under way.
pub(super) struct Claiming<'a> {
    link: &'a Arc<Link<Cluster>>,
    connected: &'a Connected<EtcdConnection>,
    claim: &'a LeaseClaim,
    own: Acquisition,
    /// Whom the step under way robs if it succeeds and they are still there, by the names of their
    /// holds.
    robbed: Vec<(Vec<u8>, LeaseEntry)>,
}

/// What is tried next.
enum Plan {
    /// Takes the keys if nothing is there.
    Take,
    /// Takes them if nothing is held and these places are the first.
    Advance(Vec<i64>),
    /// Looks what there is.
    Look,
    /// Does `success` on the conditions of `compare`, and `later` after it.
    Do { compare: Vec<Compare>, success: Vec<Operation>, later: Vec<Operation>, grants: bool },
}

impl Plan {
    /// To do this on condition of that, which grants nothing.
    fn of(compare: Vec<Compare>, success: Vec<Operation>) -> Self {
        Self::Do { compare, success, later: Vec::new(), grants: false }
    }
}

/// What came of a plan.
enum Came {
    /// The keys were granted in this revision.
    Granted(i64),
    /// This is there, as of this revision.
    Found(Vec<Standing>, i64),
    /// The lease is over: everything that was attached to it is gone.
    LeaseIsGone,
}

/// Asks for what `claim` says.
pub(super) async fn claim(
    link: &Arc<Link<Cluster>>,
    claim: &LeaseClaim,
) -> Result<Claimed, LockError> {
    let client = link.target.client().clone();
    let _turn = client.order.turn(&claim.keys).await;
    let connected = link.connected().await?;
    let own = acquire(link, &connected, &client, claim).await;
    let own = own.map_err(|status| failed(link, &connected, &status))?;
    client.keep(claim.id, own.clone());
    let mut claiming = Claiming { link, connected: &connected, claim, own, robbed: Vec::new() };
    let claimed = claiming.run().await;
    let Claiming { own, .. } = claiming;
    match claimed {
        Ok(Claimed::Refused(refusal)) if !refusal.placed => {
            client.forget(claim.id);
            client.dispose(&connected.rpc, own, false);
            Ok(Claimed::Refused(refusal))
        }
        // It was refused and has left nothing.
        Err(error) if error.kind() == ErrorKind::PermitsMismatch => {
            client.forget(claim.id);
            client.dispose(&connected.rpc, own, false);
            Err(error)
        }
        Ok(claimed) => {
            client.keep(claim.id, own);
            Ok(claimed)
        }
        Err(error) => {
            // Something of it may be carried out yet.
            client.keep(claim.id, Acquisition { is_tainted: true, ..own });
            Err(error)
        }
    }
}

/// The acquisition as it is known, or a new one with a lease.
async fn acquire(
    link: &Link<Cluster>,
    connected: &Connected<EtcdConnection>,
    client: &Client,
    claim: &LeaseClaim,
) -> Result<Acquisition, Status> {
    if let Some(known) = client.acquisition(claim.id) {
        return Ok(known);
    }
    let ttl = whole_seconds(claim.lease);
    let lease = client.lease(&connected.rpc, ttl + SPARE).await?;
    let reserve = match claim.hold_at_least {
        Some(least) if !least.is_zero() => {
            let ttl = whole_seconds(least.saturating_add(BROOM));
            Some(client.lease(&connected.rpc, ttl).await?)
        }
        _ => None,
    };
    let micros = |bound: Option<Duration>| {
        bound.map_or(0, |bound| u64::try_from(bound.as_micros()).unwrap_or(u64::MAX))
    };
    let record = Record {
        mode: claim.mode,
        ttl,
        term: 0,
        since: 0,
        granted: 0,
        least: micros(claim.hold_at_least),
        most: claim.hold_at_most.map_or(0, |most| micros(Some(most)).max(1)),
        keys: claim.keys.len(),
        grace: 0,
        client: link.client.clone(),
        note: claim.note.clone(),
        is_strange: false,
    };
    let keys = claim.keys.clone();
    Ok(Acquisition {
        lease,
        reserve,
        reserves_later: claim.reserve == Reserve::IfDone,
        record,
        keys,
        ending: Vec::new(),
        placed: None,
        granted: None,
        is_tainted: false,
        is_foreign: false,
    })
}

/// A duration as etcd counts it, at most [`LONGEST`].
fn whole_seconds(duration: Duration) -> u64 {
    let seconds = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    seconds.min(LONGEST)
}

impl Claiming<'_> {
    async fn run(&mut self) -> Result<Claimed, LockError> {
        let mut plan = match (&self.own.placed, self.claim.mode) {
            (None, _) => Plan::Take,
            (Some(placed), Mode::Exclusive) => Plan::Advance(placed.clone()),
            (Some(_), _) => Plan::Look,
        };
        for _ in 0..ROUNDS {
            let sent = BootClock.now();
            match self.carry_out(plan, sent).await? {
                Came::Granted(token) => {
                    let token = Token::new(token.cast_unsigned());
                    self.note_grant();
                    let robbed = std::mem::take(&mut self.robbed);
                    let from: Vec<_> = robbed.into_iter().map(|(_, entry)| entry).collect();
                    return Ok(match from.is_empty() {
                        true => Claimed::Granted(token),
                        false => Claimed::Stolen { token, from },
                    });
                }
                Came::Found(standings, revision) => match self.decide(standings, revision).await? {
                    Ok(claimed) => return Ok(claimed),
                    Err(next) => plan = next,
                },
                Came::LeaseIsGone => {
                    let ttl = self.own.lease.ttl;
                    let lease = self.client().lease(&self.connected.rpc, ttl).await;
                    self.own.lease = lease.map_err(|status| self.fail(&status))?;
                    self.own.placed = None;
                    plan = Plan::Look;
                }
            }
        }
        let why = "what was found had changed each time before it could be acted upon";
        Err(LockError::unavailable(&self.link.name, why))
    }

    /// One step, with a keep-alive beside it if the lease needs one.
    async fn carry_out(&mut self, mut plan: Plan, sent: Moment) -> Result<Came, LockError> {
        let (grants, later) = match &mut plan {
            Plan::Take | Plan::Advance(_) => (true, Vec::new()),
            Plan::Look => (false, Vec::new()),
            Plan::Do { grants, later, .. } => (*grants, std::mem::take(later)),
        };
        let now = self.client().clock.now();
        self.own.record.stamp(now, Duration::ZERO);
        let request = self.request(plan, now);
        let keep = &self.connected.keep_alive;
        let (lease, reserve) = (self.own.lease, self.own.reserve);
        let needs_keeping = !lease.lasts(sent, self.claim.lease);
        let (life, reserve, answer) = tokio::join!(
            async {
                match needs_keeping {
                    true => keep.keep(lease.id).await.map(Some),
                    false => Ok(None),
                }
            },
            async {
                match reserve {
                    Some(lease) => keep.keep(lease.id).await.map(Some),
                    None => Ok(None),
                }
            },
            self.connected.rpc.txn(&request)
        );
        let answer = match answer {
            Ok(answer) => answer,
            // Its own, or that of another to whom a notice was to be left.
            Err(status) if is_lease_gone(&status) => {
                let life = match life.map_err(|status| self.fail(&status))? {
                    Some(life) => life,
                    None => keep.keep(lease.id).await.map_err(|status| self.fail(&status))?,
                };
                return Ok(if life.alive { self.look().await? } else { Came::LeaseIsGone });
            }
            Err(status) => return Err(self.fail(&status)),
        };
        let life = life.map_err(|status| self.fail(&status))?;
        let reserve = reserve.map_err(|status| self.fail(&status))?;
        let header = answer.header();
        Clock::tend(&self.client().clock, &self.connected.rpc, header.raft_term);
        if life.is_some_and(|life| !life.alive) {
            return Ok(Came::LeaseIsGone);
        }
        let is_certain = life.is_none_or(|life| life.term == header.raft_term);
        if life.is_some() && is_certain {
            self.own.lease.since = sent;
        }
        if let Some(lease) = &mut self.own.reserve {
            lease.since = sent;
        }
        if !(grants && answer.succeeded) {
            return Ok(self.found(answer));
        }
        let removed: BTreeSet<&[u8]> = answer.removed().collect();
        self.robbed.retain(|(name, _)| removed.contains(name.as_slice()));
        self.follow_up(&later).await;
        if reserve.is_some_and(|life| !life.alive) {
            // It cannot be reserved for as long as was asked: what was granted is removed.
            return self.renounce().await;
        }
        if !is_certain && !self.confirm().await? {
            return Ok(Came::LeaseIsGone);
        }
        self.restamp(sent).await?;
        Ok(Came::Granted(header.revision))
    }

    fn request(&self, plan: Plan, now: Option<Instant>) -> TxnRequest {
        let (layout, claim) = (self.layout(), self.claim);
        let looks = || claim.keys.iter().map(|key| txn::range(layout.key(key))).collect::<Vec<_>>();
        match plan {
            Plan::Take => {
                let compare = claim.keys.iter().flat_map(|key| match claim.mode {
                    Mode::Shared => {
                        let spans = [Kind::Hold, Kind::Reservation, Kind::Place]
                            .map(|kind| txn::is_empty(layout.unshared(key, kind)));
                        let own = self.entry(key, Kind::Hold);
                        spans.into_iter().chain([txn::was_created(own, 0)]).collect::<Vec<_>>()
                    }
                    _ => vec![txn::is_empty(layout.key(key))],
                });
                let mut failure = self.places(&claim.keys, now);
                failure.extend(looks());
                TxnRequest { compare: compare.collect(), success: self.grants(), failure }
            }
            Plan::Advance(placed) => {
                let compare = claim.keys.iter().zip(&placed).flat_map(|(key, placed)| {
                    [
                        txn::is_empty(layout.held(key)),
                        txn::was_created(self.entry(key, Kind::Place), *placed),
                        txn::is_not_before(layout.places(key), *placed),
                    ]
                });
                let mut success = self.grants();
                success.extend(self.without_places());
                // One that waits for several keys shows that it is there.
                let keys = if claim.keys.len() > 1 { &claim.keys[..] } else { &[] };
                let mut failure = self.places(keys, now);
                failure.extend(looks());
                TxnRequest { compare: compare.collect(), success, failure }
            }
            Plan::Look => TxnRequest { compare: Vec::new(), success: looks(), failure: Vec::new() },
            Plan::Do { compare, mut success, grants, .. } => {
                if !grants {
                    success.extend(looks());
                }
                TxnRequest { compare, success, failure: looks() }
            }
        }
    }

    /// Entries of the holds, and of the reservations.
    fn grants(&self) -> Vec<Operation> {
        let value = self.own.record.write();
        let put = |key: &String, kind, lease: Lease| {
            txn::put(self.entry(key, kind), value.clone(), lease.id)
        };
        let holds = self.claim.keys.iter().map(|key| put(key, Kind::Hold, self.own.lease));
        let reserve = self.own.reserve.filter(|_| !self.own.reserves_later);
        let reserved = reserve.into_iter().flat_map(|lease| {
            self.claim.keys.iter().map(move |key| put(key, Kind::Reservation, lease))
        });
        holds.chain(reserved).collect()
    }

    /// Places for these keys, if it waits.
    fn places(&self, keys: &[String], now: Option<Instant>) -> Vec<Operation> {
        let Some(place) = self.claim.place.filter(|place| !place.keep.is_zero()) else {
            return Vec::new();
        };
        let mut record = self.own.record.clone();
        record.stamp(now, place.waited);
        // It hears that it can go, and then has to be heard.
        let grace = self.connected.rpc.trip().grace();
        record.grace = u64::try_from(grace.as_micros()).unwrap_or(u64::MAX);
        let value = record.write();
        let put =
            |key: &String| txn::put(self.entry(key, Kind::Place), value.clone(), self.own.lease.id);
        keys.iter().map(put).collect()
    }

    fn without_places(&self) -> impl Iterator<Item = Operation> {
        self.claim.keys.iter().map(|key| txn::delete(self.entry(key, Kind::Place)))
    }

    /// What a step has found that did nothing else.
    fn found(&self, answer: TxnResponse) -> Came {
        let Header { revision, .. } = answer.header();
        let layout = self.layout();
        let standings = answer.into_ranges().map(|found| Standing::read(layout, found)).collect();
        Came::Found(standings, revision)
    }

    async fn look(&self) -> Result<Came, LockError> {
        let request = self.request(Plan::Look, None);
        let answer = self.connected.rpc.txn(&request).await;
        Ok(self.found(answer.map_err(|status| self.fail(&status))?))
    }

    fn entry(&self, key: &str, kind: Kind) -> Vec<u8> {
        self.layout().entry(key, kind, self.claim.mode, self.claim.id)
    }

    fn client(&self) -> &Arc<Client> {
        self.link.target.client()
    }

    fn layout(&self) -> &EtcdLayout {
        &self.link.target.layout
    }

    fn fail(&self, status: &Status) -> LockError {
        failed(self.link, self.connected, status)
    }
}

/// Why a hold is gone, as notices say it.
pub(super) const STOLEN: &str = "stolen";
pub(super) const EVICTED: &str = "evicted";
pub(super) const HELD_TOO_LONG: &str = "held too long";
