use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::claim::Pending;
use super::client::Client;
use super::note;
use super::renewal::LEASES;
use crate::brief::Brief;
use crate::{
    AcquisitionId, Caller, Claim, ClaimSet, Completion, EntryState, ErrorKind, LeaseClaim,
    LeaseEnd, LeaseEnding, LeaseEntry, LeasePlace, LeaseStore, LockError, LockInfo, LostCause, Op,
    Options, Query, Token, Turn, Upstream, Wait, Wake,
};

/// The store as an engine's upstream.
pub(super) struct Behind<S: LeaseStore>(pub(super) Arc<Client<S>>);

impl<S: LeaseStore> Behind<S> {
    fn lease_claim(
        &self,
        keys: &[&str],
        options: &Options,
        caller: &Caller,
        waited: Duration,
    ) -> Result<LeaseClaim, LockError> {
        let settings = &self.0.settings;
        let name = &self.0.store.about().name;
        let lease = options.lease.unwrap_or(settings.lease);
        if !LEASES.contains(&lease) {
            let why = format!(
                "a lease of {} is out of range: `{name}` takes {} to {}",
                Brief(lease),
                Brief(*LEASES.start()),
                Brief(*LEASES.end())
            );
            return Err(LockError::new(ErrorKind::LimitExceeded, keys[0]).with_message(why));
        }
        if self.0.is_forked() {
            return Err(self.0.forked().with_key(keys[0]));
        }
        let mut asked = LeaseClaim::all(keys.iter().copied(), AcquisitionId::unique(), lease);
        asked.mode = options.mode;
        asked.steal_after = options.steal_after;
        asked.hold_at_least = options.hold_at_least;
        asked.hold_at_most = options.hold_at_most;
        asked.note = note::write(caller, &settings.label);
        asked.place = (options.fair != Some(false)).then(|| {
            let waits = options.wait.unwrap_or_default() != Wait::No;
            LeasePlace::new(waited, if waits { self.0.place_keep() } else { Duration::ZERO })
        });
        Ok(asked)
    }
}

impl<S: LeaseStore> Behind<S> {
    fn grant<'a>(
        &'a self,
        keys: &[&str],
        options: Options,
        caller: &Caller,
        waited: Duration,
    ) -> Op<'a, Turn> {
        let wait = options.wait.unwrap_or_default();
        match self.lease_claim(keys, &options, caller, waited) {
            Ok(asked) => {
                let pending = Pending::new(&self.0, asked);
                Op::later(async move {
                    let (id, token) = pending.granted(wait).await?;
                    Ok(Turn::new(id, token))
                })
            }
            Err(error) => Op::failed(error),
        }
    }
}

impl<S: LeaseStore> Upstream for Behind<S> {
    fn claim<'a>(&'a self, claim: Claim<'a>) -> Op<'a, Turn> {
        self.grant(&[claim.key], claim.options, claim.caller, claim.waited)
    }

    fn claims_sets(&self) -> bool {
        true
    }

    fn claim_set<'a>(&'a self, claim: ClaimSet<'a>) -> Op<'a, Turn> {
        self.grant(claim.keys, claim.options, claim.caller, claim.waited)
    }

    fn complete(&self, key: &str, _: Turn, _: Completion) -> Op<'static, ()> {
        unreachable!("`claims_sets`: `{key}` is granted together with the others of its set")
    }

    fn end(&self, key: &str, turn: Turn, next: Option<Duration>) -> Op<'static, ()> {
        self.0.release(key, turn.id, next)
    }

    fn poll_lost(&self, _: &str, turn: Turn, cx: Option<&mut Context<'_>>) -> Poll<LostCause> {
        self.0.poll_lost(turn.id, cx)
    }

    fn unwatch(&self, _: &str, turn: Turn, waker: &Waker) {
        if let Some(held) = self.0.held(turn.id) {
            held.unwatch(waker);
        }
    }

    fn refresh(&self, _: &str, turn: Turn) -> Op<'static, ()> {
        self.0.refresh(turn.id)
    }

    fn inspect(&self, query: Query) -> Op<'static, Vec<LockInfo>> {
        let client = self.0.clone();
        Op::later(async move { Ok(by_key(client.within_reach(client.store.list(&query)).await?)) })
    }

    fn evict(&self, key: &str, token: Token) -> Op<'static, bool> {
        let (client, query) = (self.0.clone(), Query::Key(key.to_owned()));
        Op::later(async move {
            let entries = client.within_reach(client.store.list(&query)).await?;
            let Some(entry) = entries
                .into_iter()
                .find(|entry| entry.token == token && entry.state != EntryState::Waiting)
            else {
                return Ok(false);
            };
            let ending = LeaseEnding::new(vec![entry.key.clone()], entry.id, LeaseEnd::Remove);
            let ended = client.within_reach(client.store.end(&ending)).await?;
            client.waiters.hint(&Wake::Key(entry.key));
            Ok(ended)
        })
    }
}

impl<S: LeaseStore> Drop for Behind<S> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The entries of each key together, in ascending order.
fn by_key(mut entries: Vec<LeaseEntry>) -> Vec<LockInfo> {
    entries.sort_by(|a, b| (&a.key, a.token).cmp(&(&b.key, b.token)));
    let mut found: Vec<LockInfo> = Vec::new();
    for entry in entries {
        if found.last().is_none_or(|last| last.key != entry.key) {
            found.push(LockInfo::new(entry.key.clone()));
        }
        let Some(info) = found.last_mut() else { continue };
        match entry.state {
            EntryState::Held => info.holders.push(note::holder(&entry)),
            EntryState::Reserved => {
                info.reserved_for = info.reserved_for.max(Some(entry.ends_in));
                info.reserved_by.push(entry.token);
            }
            // The engine knows those of this process, and the others in their own.
            EntryState::Waiting => {}
        }
    }
    found
}
