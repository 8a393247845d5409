use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::claim::Pending;
use super::client::Client;
use super::note;
use super::renewal::LEASES;
use crate::brief::Brief;
use crate::{
    AcquisitionId, Caller, Claim, ClaimSet, Completion, EntryState, ErrorKind, HolderInfo,
    LeaseClaim, LeaseEnd, LeaseEnding, LeaseEntry, LeasePlace, LeaseStore, LockError, LockInfo,
    LostCause, Op, Options, Query, Token, Upstream, UpstreamEnd, UpstreamGrant, Wait,
};

/// The store as an engine's upstream.
pub(super) struct StoreUpstream<S: LeaseStore>(pub(super) Arc<Client<S>>);

impl<S: LeaseStore> StoreUpstream<S> {
    fn grant(
        &self,
        keys: &[&str],
        options: &Options,
        caller: &Caller,
        waited: Duration,
    ) -> Op<'static, UpstreamGrant> {
        let client = &self.0;
        let lease = options.lease.unwrap_or(client.settings.lease);
        if !LEASES.contains(&lease) {
            let its = client.store.leases();
            // A store may take no longer lease than the client's own, which may be out of range.
            let from = *LEASES.start().max(its.start());
            let to = *LEASES.end().min(its.end());
            let (from, to) = if from <= to { (from, to) } else { LEASES.into_inner() };
            let why = format!(
                "a lease of {} is out of range: `{}` takes {} to {}",
                Brief(lease),
                client.name(),
                Brief(from),
                Brief(to)
            );
            return Op::failed(LockError::new(ErrorKind::LimitExceeded, keys[0]).with_message(why));
        }
        let wait = options.wait.unwrap_or_default();
        let waits = !matches!(wait, Wait::Try | Wait::AtMost(Duration::ZERO));
        let keep = if waits { client.place_keep() } else { Duration::ZERO };
        let mut claim = LeaseClaim::all(keys.iter().copied(), AcquisitionId::unique(), lease);
        claim.mode = options.mode;
        claim.steal_after = options.steal_after;
        claim.hold_at_least = options.hold_at_least;
        claim.reserve = options.reserve;
        claim.hold_at_most = options.hold_at_most;
        claim.note = note::write(caller, &client.settings.label);
        claim.place = (options.fair != Some(false)).then(|| LeasePlace::new(waited, keep));
        let pending = Pending::new(client, claim, waited);
        Op::later(async move {
            let (id, token) = pending.granted(wait).await?;
            Ok(UpstreamGrant::new(id, token))
        })
    }
}

impl<S: LeaseStore> Upstream for StoreUpstream<S> {
    fn claim<'a>(&'a self, claim: Claim<'a>) -> Op<'a, UpstreamGrant> {
        self.grant(&[claim.key], &claim.options, claim.caller, claim.waited)
    }

    fn claims_sets(&self) -> bool {
        true
    }

    fn claim_set<'a>(&'a self, claim: ClaimSet<'a>) -> Op<'a, UpstreamGrant> {
        self.grant(claim.keys, &claim.options, claim.caller, claim.waited)
    }

    fn complete(&self, key: &str, _: UpstreamGrant, _: Completion) -> Op<'static, ()> {
        unreachable!("`claims_sets`: `{key}` is granted together with the others of its set")
    }

    fn end(&self, key: &str, grant: UpstreamGrant, how: UpstreamEnd) -> Op<'static, ()> {
        self.0.release(key, grant.id, how)
    }

    /// The waker is the engine's business: it hears of each loss by
    /// [`Engine::lose`](crate::Engine::lose).
    fn poll_lost(
        &self,
        _: &str,
        grant: UpstreamGrant,
        _: Option<&mut Context<'_>>,
    ) -> Poll<LostCause> {
        self.0.holds.poll_lost(grant.id)
    }

    fn unwatch(&self, _: &str, _: UpstreamGrant, _: &Waker) {}

    fn validity(&self, _: &str, grant: UpstreamGrant) -> Option<(Duration, Duration)> {
        self.0.holds.validity(grant.id)
    }

    fn stolen_from(&self, key: &str, grant: UpstreamGrant) -> Vec<HolderInfo> {
        self.0.holds.stolen_from(grant.id, key)
    }

    fn refresh(&self, key: &str, grant: UpstreamGrant) -> Op<'static, ()> {
        self.0.refresh(key, grant.id)
    }

    fn served_by(&self) -> Option<String> {
        self.0.store.served_by()
    }

    fn inspect(&self, query: Query) -> Op<'static, Vec<LockInfo>> {
        let client = self.0.clone();
        Op::later(async move {
            let entries = list(&client, &query).await?;
            Ok(by_key(entries, |entry| client.waiters.knows(&entry.key, entry.id)))
        })
    }

    fn evict(&self, key: &str, token: Token) -> Op<'static, bool> {
        let (client, query) = (self.0.clone(), Query::Key(key.to_owned()));
        Op::later(async move {
            let has_it =
                |entry: &LeaseEntry| entry.token == token && entry.state != EntryState::Waiting;
            let Some(entry) = list(&client, &query).await?.into_iter().find(has_it) else {
                return Ok(false);
            };
            let ending = LeaseEnding::new(vec![entry.key], entry.id, LeaseEnd::Remove);
            client.end_once(&ending).await
        })
    }
}

impl<S: LeaseStore> Drop for StoreUpstream<S> {
    fn drop(&mut self) {
        self.0.closed.raise();
    }
}

async fn list<S: LeaseStore>(
    client: &Client<S>,
    query: &Query,
) -> Result<Vec<LeaseEntry>, LockError> {
    client.step(client.settings.connect, || client.store.list(query)).await
}

/// The entries of each key together, in ascending order, but for the waiters that the engine
/// knows of by itself.
fn by_key(mut entries: Vec<LeaseEntry>, is_known: impl Fn(&LeaseEntry) -> bool) -> Vec<LockInfo> {
    entries.sort_by(|a, b| (&a.key, a.token).cmp(&(&b.key, b.token)));
    let mut found: Vec<LockInfo> = Vec::new();
    for entry in entries {
        if entry.state == EntryState::Waiting && is_known(&entry) {
            continue;
        }
        if found.last().is_none_or(|last| last.key != entry.key) {
            found.push(LockInfo::new(entry.key.clone()));
        }
        let Some(info) = found.last_mut() else { continue };
        match entry.state {
            EntryState::Held => info.holders.push(note::holder(&entry)),
            EntryState::Waiting => info.waiters.push(note::waiter(&entry)),
            EntryState::Reserved => {
                info.reserved_for = info.reserved_for.max(Some(entry.ends_in));
                info.reserved_by.push(entry.token);
            }
        }
    }
    for info in &mut found {
        info.waiters.sort_by_key(|waiter| std::cmp::Reverse(waiter.waited));
    }
    found
}
