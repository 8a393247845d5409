//! A claim.
//!
//! What a transaction of etcd can compare decides the usual cases in one step: nothing there, or nothing
//! ahead of one's place. All others are decided here, by what the step has found, and carried out by a
//! second one on condition that nothing was added meanwhile.
//!
//! Beside each transaction the acquisition's lease is kept alive, or it might be older than the claim.

use std::sync::Arc;
use std::time::Duration;

use locks_core::{
    BootClock, Claimed, Clock as _, ErrorKind, LeaseClaim, LeaseEntry, LockError, Mode, Moment,
    Refusal, Reserve, Token,
};
use tonic::Status;

use super::client::{Acquisition, Client, Granted, Lease};
use super::clock::{Clock, Instant};
use super::cluster::{Cluster, Connection, failed};
use super::fault::is_lease_gone;
use super::keep_alive::Life;
use super::layout::{Kind, Layout};
use super::record::{LATE, Record};
use super::standing::{Asker, Hold, Place, Standing, Verdict};
use super::txn;
use super::watch::Waiter;
use super::wire::{Compare, Header, Operation, TxnRequest, TxnResponse};
use crate::link::{Connected, Link};

/// How often what was found may turn out to have changed before that is an error: the adapter asks again.
const ROUNDS: u32 = 32;
/// For how long a reservation's lease outlives it.
const BROOM: Duration = Duration::from_secs(3);

/// A claim under way.
pub(super) struct Claiming<'a> {
    link: &'a Arc<Link<Cluster>>,
    connected: &'a Connected<Connection>,
    claim: &'a LeaseClaim,
    own: Acquisition,
    /// Whom the step under way robs if it succeeds.
    robbed: Vec<LeaseEntry>,
}

/// What is tried next.
enum Plan {
    /// To take the keys if nothing is there.
    Take,
    /// To take them if nothing is held, and nobody has an earlier place than these.
    Advance(Vec<i64>),
    /// To look.
    Look,
    /// To do this on condition of that.
    Do { compare: Vec<Compare>, success: Vec<Operation>, grants: bool },
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

/// A hold and the number of its key.
type At<T> = (usize, T);

/// What there is to do before a request can have all of its keys, or why it cannot.
#[derive(Default)]
struct Findings {
    robbed: Vec<At<Hold>>,
    over: Vec<At<Hold>>,
    absent: Vec<At<Place>>,
    taken: Vec<At<Hold>>,
    is_taken: bool,
    again_in: Option<Duration>,
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
            client.settle(&connected.rpc, own, false);
            Ok(Claimed::Refused(refusal))
        }
        // It was refused and has left nothing.
        Err(error) if error.kind() == ErrorKind::PermitsMismatch => {
            client.forget(claim.id);
            client.settle(&connected.rpc, own, false);
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
    connected: &Connected<Connection>,
    client: &Client,
    claim: &LeaseClaim,
) -> Result<Acquisition, Status> {
    if let Some(known) = client.acquisition(claim.id) {
        return Ok(known);
    }
    let ttl = whole_seconds(claim.lease);
    let lease = client.lease(&connected.rpc, ttl).await?;
    let reserve = match claim.hold_at_least {
        Some(least) if !least.is_zero() => {
            let ttl = whole_seconds(least.saturating_add(BROOM)).min(3_000_000_000);
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
        client: link.client.clone(),
        note: claim.note.clone(),
    };
    let keys = claim.keys.clone();
    Ok(Acquisition {
        lease,
        reserve,
        reserves_later: claim.reserve == Reserve::IfDone,
        record,
        keys,
        placed: None,
        granted: None,
        is_tainted: false,
        is_foreign: false,
    })
}

pub(super) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
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
                    self.note_grant(sent);
                    let from = std::mem::take(&mut self.robbed);
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

    /// One step, with a keep-alive beside it.
    async fn carry_out(&mut self, plan: Plan, sent: Moment) -> Result<Came, LockError> {
        let grants = match &plan {
            Plan::Take | Plan::Advance(_) => true,
            Plan::Look => false,
            Plan::Do { grants, .. } => *grants,
        };
        let now = self.client().clock.now();
        self.own.record.stamp(now, Duration::ZERO);
        let request = self.request(plan, now);
        let keep = &self.connected.keep_alive;
        let reserve = self.own.reserve;
        let (life, reserve, answer) = tokio::join!(
            keep.keep(self.own.lease.id),
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
                let life = life.map_err(|status| self.fail(&status))?;
                return Ok(if life.alive { self.look().await? } else { Came::LeaseIsGone });
            }
            Err(status) => return Err(self.fail(&status)),
        };
        let life = life.map_err(|status| self.fail(&status))?;
        let reserve = reserve.map_err(|status| self.fail(&status))?;
        let header = answer.header();
        Clock::tend(&self.client().clock, &self.connected.rpc, header.raft_term);
        if !life.alive {
            return Ok(Came::LeaseIsGone);
        }
        self.own.lease.since = sent;
        if let Some(lease) = &mut self.own.reserve {
            lease.since = sent;
        }
        if !(grants && answer.succeeded) {
            return Ok(self.found(answer));
        }
        if reserve.is_some_and(|life| !life.alive) {
            // It cannot be reserved for as long as was asked: what was granted is removed.
            return self.renounce().await;
        }
        if life.term != header.raft_term && !self.confirm().await? {
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
            Plan::Do { compare, mut success, grants } => {
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

    /// What is to be done by what was found: the answer, or the next plan.
    async fn decide(
        &mut self,
        mut standings: Vec<Standing>,
        revision: i64,
    ) -> Result<Result<Claimed, Plan>, LockError> {
        let claim = self.claim;
        if standings.len() != claim.keys.len() {
            return Err(LockError::unavailable(&self.link.name, "an answer is incomplete"));
        }
        let held =
            |standing: &Standing| standing.own(claim.id).is_some_and(|own| own.held.is_some());
        let own = standings.iter().filter(|standing| held(standing)).count();
        if own == standings.len() {
            return self.repeated(&standings).await;
        }
        if own > 0 {
            // Of a set that has lost a key: it begins anew.
            let success = claim.keys.iter().map(|key| txn::delete(self.entry(key, Kind::Hold)));
            let success = success.collect();
            return Ok(Err(Plan::Do { compare: Vec::new(), success, grants: false }));
        }
        let steals = claim.steal_after.is_some();
        // Without a clock nothing is old, and nothing that is reserved ends but by its lease.
        let clock = self.client().clock.now();
        let now = clock.unwrap_or(Instant { term: 0, earliest: 0, latest: 0 });
        if clock.is_some()
            && let Some(plan) = self.time(&mut standings, now, steals, revision)
        {
            return Ok(Err(plan));
        }
        let findings = match self.judge(&standings, now) {
            Ok(findings) => findings,
            Err(key) => return Err(self.mismatch(&key).await?),
        };
        let gone = self.removals(&findings);
        let describe = |(at, hold): &At<Hold>| hold.describe(&claim.keys[*at], now);
        self.robbed = findings.robbed.iter().filter_map(describe).collect();
        let compare = |placed: bool| {
            let unchanged =
                claim.keys.iter().map(|key| txn::is_unchanged(self.layout().key(key), revision));
            let places = claim.keys.iter().zip(&standings).filter(|_| placed);
            let places = places.filter_map(|(key, standing)| {
                let created = standing.own_place(claim.id)?.entry.created;
                Some(txn::was_created(self.entry(key, Kind::Place), created))
            });
            unchanged.chain(places).collect()
        };
        if !findings.is_taken {
            let success = gone.into_iter().chain(self.grants()).chain(self.without_places());
            let success = success.collect();
            return Ok(Err(Plan::Do { compare: compare(true), success, grants: true }));
        }
        if !gone.is_empty() {
            return Ok(Err(Plan::Do { compare: compare(false), success: gone, grants: false }));
        }
        let placed = standings
            .iter()
            .map(|standing| standing.own_place(claim.id).map(|place| place.entry.created));
        let placed: Option<Vec<i64>> = placed.collect();
        let waits = claim.place.is_some_and(|place| !place.keep.is_zero());
        if waits && placed.is_none() {
            let success = self.places(&claim.keys, clock);
            return Ok(Err(Plan::Do { compare: Vec::new(), success, grants: false }));
        }
        self.own.placed = placed;
        if waits || claim.place.is_none() {
            self.wait(&standings, revision);
        }
        Ok(Ok(Claimed::Refused(self.refusal(&findings, now))))
    }

    /// Writes down for those entries whose times nobody can tell that they begin now.
    fn time(
        &self,
        standings: &mut [Standing],
        now: Instant,
        steals: bool,
        revision: i64,
    ) -> Option<Plan> {
        let untimed = standings.iter_mut().flat_map(|standing| standing.untimed(now, steals));
        let stamped = untimed.map(|entry| {
            entry.record.stamp(Some(now), Duration::ZERO);
            txn::change(entry.name.clone(), entry.record.write())
        });
        let success: Vec<Operation> = stamped.collect();
        if success.is_empty() {
            return None;
        }
        // Removed meanwhile, they are not there to be changed.
        let spans = self.claim.keys.iter().map(|key| self.layout().key(key));
        let unchanged = spans.map(|span| txn::is_unchanged(span, revision));
        let there = standings.iter().flat_map(|standing| &standing.holds).flat_map(|hold| {
            hold.held.iter().chain(&hold.reserved).map(|entry| txn::is_there(entry.name.clone()))
        });
        let compare = unchanged.chain(there).collect();
        Some(Plan::Do { compare, success, grants: false })
    }

    /// # Errors
    /// The key that is in use in another way.
    fn judge(&self, standings: &[Standing], now: Instant) -> Result<Findings, String> {
        let claim = self.claim;
        let mut findings = Findings::default();
        let mut known = true;
        for (at, (key, standing)) in claim.keys.iter().zip(standings).enumerate() {
            let asker = Asker {
                id: claim.id,
                mode: claim.mode,
                steal_after: claim.steal_after,
                is_fair: claim.place.is_some(),
                idle: self.connected.watches.idle(key, &standing.entries()),
            };
            let with = |holds: Vec<Hold>| holds.into_iter().map(move |hold| (at, hold));
            let gone = match standing.judge(&asker, now) {
                Verdict::Free { robbed, over, absent } => {
                    findings.robbed.extend(with(robbed));
                    findings.over.extend(with(over));
                    absent
                }
                Verdict::Taken { by, again_in, absent } => {
                    findings.is_taken = true;
                    findings.taken.extend(with(by));
                    known &= again_in.is_some();
                    findings.again_in = findings.again_in.max(again_in);
                    absent
                }
                Verdict::Mismatch => return Err(key.clone()),
            };
            findings.absent.extend(gone.into_iter().map(|place| (at, place)));
        }
        if findings.is_taken {
            // Nobody is robbed for one key of several.
            (findings.robbed, findings.over) = (Vec::new(), Vec::new());
            findings.again_in = findings.again_in.filter(|_| known);
        }
        Ok(findings)
    }

    /// The removal of what is over, robbed or absent, and notices to those whom it concerns.
    fn removals(&self, findings: &Findings) -> Vec<Operation> {
        let ended = |at: usize, hold: &Hold, cause: &str| {
            let entries = hold.held.iter().chain(&hold.reserved);
            let removed = entries.map(|entry| txn::delete(entry.name.clone()));
            let notice = hold.held.iter().map(|entry| {
                let name =
                    self.layout().notice(&entry.record.client, hold.id, &self.claim.keys[at]);
                txn::put(name, cause.as_bytes().to_vec(), entry.lease)
            });
            removed.chain(notice).collect::<Vec<_>>()
        };
        let robbed = findings.robbed.iter().flat_map(|(at, hold)| ended(*at, hold, STOLEN));
        let over = findings.over.iter().flat_map(|(at, hold)| ended(*at, hold, HELD_TOO_LONG));
        let absent = findings.absent.iter().map(|(_, place)| txn::delete(place.entry.name.clone()));
        robbed.chain(over).chain(absent).collect()
    }

    fn refusal(&self, findings: &Findings, now: Instant) -> Refusal {
        let describe = |(at, hold): &At<Hold>| hold.describe(&self.claim.keys[*at], now);
        let mut refusal = Refusal::new(findings.taken.iter().filter_map(describe).collect());
        refusal.placed = self.own.placed.is_some();
        refusal.again_in = findings.again_in;
        refusal
    }

    /// Has the watches call it.
    fn wait(&self, standings: &[Standing], revision: i64) {
        let claim = self.claim;
        for (at, (key, standing)) in claim.keys.iter().zip(standings).enumerate() {
            let waiter = Waiter {
                id: claim.id,
                mode: claim.mode,
                is_eager: claim.steal_after.is_some() || claim.place.is_none(),
                place: self.own.placed.as_ref().map(|placed| placed[at]),
                asked: tokio::time::Instant::now(),
            };
            self.connected.watches.wait(key, waiter, revision, || standing.entries());
        }
    }

    /// It has the keys already, by a claim whose answer was lost or which another client has made.
    async fn repeated(
        &mut self,
        standings: &[Standing],
    ) -> Result<Result<Claimed, Plan>, LockError> {
        let owns =
            standings.iter().filter_map(|standing| standing.own(self.claim.id)?.held.as_ref());
        let owns: Vec<_> = owns.cloned().collect();
        let Some(token) = owns.iter().map(|entry| entry.created).max() else {
            return Ok(Err(Plan::Look));
        };
        let lease = owns[0].lease;
        if lease != self.own.lease.id {
            // That of an earlier connection or of another client: it stays with it.
            self.client().give_back(self.own.lease);
            self.own.lease.id = lease;
            self.own.is_foreign = owns[0].record.client != self.link.client;
        }
        let sent = BootClock.now();
        if !self.confirm().await? {
            let success = owns.into_iter().map(|entry| txn::delete(entry.name)).collect();
            self.own.lease.since = Moment::from_nanos(0);
            return Ok(Err(Plan::Do { compare: Vec::new(), success, grants: false }));
        }
        self.own.lease.since = sent;
        self.own.record = owns[0].record.clone();
        // The first answer may have been any time late.
        self.own.record.stamp(self.client().clock.now(), Duration::ZERO);
        if self.own.record.client == self.link.client {
            self.write_stamp().await?;
        }
        self.note_grant(sent);
        Ok(Ok(Claimed::Granted(Token::new(token.cast_unsigned()))))
    }

    /// Makes sure that the lease was kept alive by the member that leads still: a member that was cut off
    /// answers for a moment. A question to the majority afterwards tells.
    async fn confirm(&mut self) -> Result<bool, LockError> {
        for _ in 0..3 {
            let sent = BootClock.now();
            let life = self.connected.keep_alive.keep(self.own.lease.id).await;
            let Life { alive, term } = life.map_err(|status| self.fail(&status))?;
            let request = self.request(Plan::Look, None);
            let answer = self.connected.rpc.txn(&request).await;
            let answer = answer.map_err(|status| self.fail(&status))?;
            if answer.header().raft_term == term {
                self.own.lease.since = sent;
                return Ok(alive);
            }
        }
        Err(LockError::unavailable(&self.link.name, "it is electing a leader"))
    }

    /// Writes the time down once more if the answer has come late.
    async fn restamp(&mut self, mut sent: Moment) -> Result<(), LockError> {
        for _ in 0..3 {
            if BootClock.now().since(sent) <= LATE {
                break;
            }
            sent = BootClock.now();
            self.own.record.stamp(self.client().clock.now(), Duration::ZERO);
            self.write_stamp().await?;
        }
        Ok(())
    }

    async fn write_stamp(&self) -> Result<(), LockError> {
        let request = stamp(self.layout(), self.claim, &self.own);
        let written = self.connected.rpc.txn(&request).await;
        written.map(drop).map_err(|status| self.fail(&status))
    }

    /// Removes what it was granted, since it cannot be reserved.
    async fn renounce(&mut self) -> Result<Came, LockError> {
        let kinds = [Kind::Hold, Kind::Reservation];
        let names = self.claim.keys.iter().flat_map(|key| kinds.map(|kind| self.entry(key, kind)));
        let success = names.map(txn::delete).collect();
        let request = TxnRequest { compare: Vec::new(), success, failure: Vec::new() };
        self.connected.rpc.txn(&request).await.map_err(|status| self.fail(&status))?;
        if let Some(lease) = self.own.reserve {
            let lease = self.client().lease(&self.connected.rpc, lease.ttl).await;
            self.own.reserve = Some(lease.map_err(|status| self.fail(&status))?);
        }
        self.look().await
    }

    /// Locks and permits do not mix: it waits for nothing here.
    async fn mismatch(&mut self, key: &str) -> Result<LockError, LockError> {
        let success = self.without_places().collect();
        let request = TxnRequest { compare: Vec::new(), success, failure: Vec::new() };
        self.connected.rpc.txn(&request).await.map_err(|status| self.fail(&status))?;
        self.own.placed = None;
        let text = format!(
            "`{key}` is in use in another way: permits and locks do not mix on one key at a time"
        );
        Ok(LockError::new(ErrorKind::PermitsMismatch, key).with_message(text))
    }

    fn note_grant(&mut self, sent: Moment) {
        let now = BootClock.now();
        self.own.granted.get_or_insert(Granted { at: now, refreshed: now });
        self.own.placed = None;
        self.own.lease.since = self.own.lease.since.max(sent);
        for key in &self.claim.keys {
            self.connected.watches.leave(key, self.claim.id);
        }
    }

    fn entry(&self, key: &str, kind: Kind) -> Vec<u8> {
        self.layout().entry(key, kind, self.claim.mode, self.claim.id)
    }

    fn client(&self) -> &Arc<Client> {
        self.link.target.client()
    }

    fn layout(&self) -> &Layout {
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

/// Writes the time of its record into the entries of an acquisition, if all of its holds stand.
fn stamp(layout: &Layout, claim: &LeaseClaim, own: &Acquisition) -> TxnRequest {
    super::renew::stamp(layout, claim.id, &claim.keys, own)
}
