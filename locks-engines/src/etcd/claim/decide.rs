//! What is to be done by what a step of a claim has found.

use std::collections::BTreeSet;
use std::time::Duration;

use locks_core::{Claimed, ErrorKind, LockError, Moment, Refusal, Token};

use super::{Claiming, HELD_TOO_LONG, Plan, STOLEN};
use crate::etcd::clock::Instant;
use crate::etcd::layout::{Kind, Span};
use crate::etcd::standing::{Asker, Hold, QueuedClaim, Standing, Verdict};
use crate::etcd::txn;
use crate::etcd::watch::Waiter;
use crate::etcd::wire::{Operation, TxnRequest};

/// A hold and the number of its key.
type At<T> = (usize, T);

/// What there is to do before a request can have all of its keys, or why it cannot.
#[derive(Default)]
struct Findings {
    robbed: Vec<At<Hold>>,
    over: Vec<At<Hold>>,
    absent: Vec<At<QueuedClaim>>,
    taken: Vec<At<Hold>>,
    is_taken: bool,
    again_in: Option<Duration>,
}

impl Claiming<'_> {
    /// What is to be done by what was found: the answer, or the next plan.
    pub(super) async fn decide(
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
            // Asked once more, it may have taken places for what it has already.
            let queues = |standing: &Standing| standing.own_place(claim.id).is_some();
            if standings.iter().any(queues) {
                let success = self.without_places().collect();
                return Ok(Err(Plan::of(Vec::new(), success)));
            }
            return self.repeated(&standings).await;
        }
        if own > 0 {
            // Of a set that has lost a key: it begins anew.
            let success = claim.keys.iter().map(|key| txn::delete(self.entry(key, Kind::Hold)));
            return Ok(Err(Plan::of(Vec::new(), success.collect())));
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
        let (gone, notices) = (self.removals(&findings, &standings), self.notices(&findings));
        let describe = |(at, hold): &At<Hold>| {
            let name = hold.held.as_ref()?.name.clone();
            Some((name, hold.describe(&claim.keys[*at], now)?))
        };
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
            let mut success: Vec<_> = gone.into_iter().chain(self.grants()).collect();
            let mut rest: Vec<_> = self.without_places().chain(notices).collect();
            // The rest has time until afterwards.
            let room = txn::MOST.saturating_sub(success.len());
            let later = rest.split_off(room.min(rest.len()));
            success.extend(rest);
            return Ok(Err(Plan::Do { compare: compare(true), success, later, grants: true }));
        }
        if !gone.is_empty() {
            let room = txn::MOST - claim.keys.len();
            let success = gone.into_iter().chain(notices).take(room).collect();
            return Ok(Err(Plan::of(compare(false), success)));
        }
        let placed = standings
            .iter()
            .map(|standing| standing.own_place(claim.id).map(|place| place.entry.created));
        let placed: Option<Vec<i64>> = placed.collect();
        let waits = claim.place.is_some_and(|place| !place.keep.is_zero());
        if waits && placed.is_none() {
            let success = self.places(&claim.keys, clock);
            return Ok(Err(Plan::of(Vec::new(), success)));
        }
        self.own.placed = placed;
        if waits || claim.place.is_none() {
            self.wait(&standings, revision);
        }
        Ok(Ok(Claimed::Refused(self.refusal(&findings, now))))
    }

    /// Dates entries of an earlier clock, whose times are lost: they begin now.
    fn time(
        &self,
        standings: &mut [Standing],
        now: Instant,
        steals: bool,
        revision: i64,
    ) -> Option<Plan> {
        let untimed = standings.iter_mut().flat_map(|standing| standing.untimed(now, steals));
        let stamped = untimed.take(txn::MOST - self.claim.keys.len()).map(|entry| {
            entry.record.stamp(Some(now), Duration::ZERO);
            // Removed meanwhile, it is not there to be changed.
            let there = txn::is_there(entry.name.clone());
            (there, txn::change(entry.name.clone(), entry.record.write()))
        });
        let (there, success): (Vec<_>, Vec<_>) = stamped.unzip();
        if success.is_empty() {
            return None;
        }
        let spans = self.claim.keys.iter().map(|key| self.layout().key(key));
        let unchanged = spans.map(|span| txn::is_unchanged(span, revision));
        Some(Plan::of(unchanged.chain(there).collect(), success))
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

    /// The removal of what is over, robbed or absent: by ranges, since there may be more of it than
    /// a transaction takes operations.
    fn removals(&self, findings: &Findings, standings: &[Standing]) -> Vec<Operation> {
        let mut gone = vec![BTreeSet::new(); self.claim.keys.len()];
        for (at, hold) in findings.robbed.iter().chain(&findings.over) {
            let entries = hold.held.iter().chain(&hold.reserved);
            gone[*at].extend(entries.map(|entry| entry.name.clone()));
        }
        for (at, place) in &findings.absent {
            gone[*at].insert(place.entry.name.clone());
        }
        let keys = self.claim.keys.iter().zip(standings).zip(&gone);
        let removals = keys.flat_map(|((key, standing), gone)| {
            // What is put by the same transaction may be in no range of it.
            let puts = [Kind::Hold, Kind::Reservation].map(|kind| self.entry(key, kind));
            let all = standing.entries().into_keys().chain(puts);
            runs(all.collect(), gone)
        });
        removals.map(txn::delete_all).collect()
    }

    /// Notices to those whom the removals concern.
    fn notices(&self, findings: &Findings) -> Vec<Operation> {
        let robbed = findings.robbed.iter().map(|gone| (gone, STOLEN));
        let over = findings.over.iter().map(|gone| (gone, HELD_TOO_LONG));
        let notices = robbed.chain(over).filter_map(|((at, hold), cause)| {
            let entry = hold.held.as_ref()?;
            let name = self.layout().notice(&entry.record.client, hold.id, &self.claim.keys[*at]);
            Some(txn::put(name, cause.as_bytes().to_vec(), entry.lease))
        });
        notices.collect()
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
            (self.own.lease.id, self.own.lease.ttl) = (lease, owns[0].record.ttl);
            self.own.is_foreign = owns[0].record.client != self.link.client;
        }
        if !self.confirm().await? {
            let success = owns.into_iter().map(|entry| txn::delete(entry.name)).collect();
            self.own.lease.since = Moment::from_nanos(0);
            return Ok(Err(Plan::of(Vec::new(), success)));
        }
        self.own.record = owns[0].record.clone();
        // The first answer may have been any time late.
        self.own.record.stamp(self.client().clock.now(), Duration::ZERO);
        if self.own.record.client == self.link.client {
            self.write_stamp().await?;
        }
        self.note_grant();
        Ok(Ok(Claimed::Granted(Token::new(token.cast_unsigned()))))
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
}

/// Ranges that what is `gone` is in, and nothing else of `all`.
fn runs(all: BTreeSet<Vec<u8>>, gone: &BTreeSet<Vec<u8>>) -> Vec<Span> {
    let mut runs: Vec<Span> = Vec::new();
    let mut goes_on = false;
    for name in all {
        let goes = gone.contains(&name);
        if goes {
            let mut end = name.clone();
            end.push(0);
            match runs.last_mut().filter(|_| goes_on) {
                Some(run) => run.1 = end,
                None => runs.push(Span(name, end)),
            }
        }
        goes_on = goes;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_hold_what_goes_and_nothing_that_stays() {
        let set = |names: &str| names.bytes().map(|name| vec![name]).collect::<BTreeSet<_>>();
        for (all, gone, expected) in [
            ("abcdef", "abcdef", vec![("a", "f")]),
            ("abcdef", "abdf", vec![("a", "b"), ("d", "d"), ("f", "f")]),
            ("abc", "", vec![]),
            ("abc", "b", vec![("b", "b")]),
        ] {
            let expected = expected
                .into_iter()
                .map(|(from, to)| Span(from.as_bytes().to_vec(), [to.as_bytes(), &[0]].concat()));
            assert_eq!(runs(set(all), &set(gone)), expected.collect::<Vec<_>>(), "{all} {gone}");
        }
    }
}
