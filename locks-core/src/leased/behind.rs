use std::sync::Arc;
use std::task::{Context, Poll};

use super::claim::Pending;
use super::client::Client;
use super::note;
use super::renewal::LEASES;
use crate::brief::Brief;
use crate::{
    AcquisitionId, Claim, Completion, ErrorKind, LeaseClaim, LeaseEnd, LeaseEntry, LeaseStore,
    LockError, LockInfo, LostCause, Op, Query, Token, Turn, Upstream, Wake,
};

/// The store as an engine's upstream.
pub(super) struct Behind<S: LeaseStore>(pub(super) Arc<Client<S>>);

impl<S: LeaseStore> Behind<S> {
    fn lease_claim(&self, claim: &Claim<'_>) -> Result<LeaseClaim, LockError> {
        let settings = &self.0.settings;
        let name = &self.0.store.about().name;
        let lease = claim.options.lease.unwrap_or(settings.lease);
        if !LEASES.contains(&lease) {
            let why = format!(
                "a lease of {} is out of range: `{name}` takes {} to {}",
                Brief(lease),
                Brief(*LEASES.start()),
                Brief(*LEASES.end())
            );
            return Err(LockError::new(ErrorKind::LimitExceeded, claim.key).with_message(why));
        }
        if self.0.is_forked() {
            return Err(self.0.forked().with_key(claim.key));
        }
        let mut asked = LeaseClaim::new(claim.key, AcquisitionId::unique(), lease);
        asked.mode = claim.options.mode;
        asked.steal_after = claim.options.steal_after;
        asked.hold_at_least = claim.options.hold_at_least;
        asked.note = note::write(claim.caller, &settings.label);
        Ok(asked)
    }
}

impl<S: LeaseStore> Upstream for Behind<S> {
    fn claim<'a>(&'a self, claim: Claim<'a>) -> Op<'a, Turn> {
        let wait = claim.options.wait.unwrap_or_default();
        match self.lease_claim(&claim) {
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

    fn complete(&self, key: &str, _: Turn, _: Completion) -> Op<'static, ()> {
        let why = "leave it out, or choose a backend that can";
        let name = &self.0.store.about().name;
        Op::failed(LockError::unsupported(name, "several keys", why).with_key(key))
    }

    fn end(&self, _: &str, turn: Turn, _: bool) -> Op<'static, ()> {
        self.0.release(turn.id)
    }

    fn poll_lost(&self, _: &str, turn: Turn, cx: Option<&mut Context<'_>>) -> Poll<LostCause> {
        self.0.poll_lost(turn.id, cx)
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
            let Some(entry) = entries.into_iter().find(|entry| entry.token == token) else {
                return Ok(false);
            };
            let end = client.store.end(&entry.key, entry.id, LeaseEnd::Remove);
            let ended = client.within_reach(end).await?;
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
        if entry.reserved {
            info.reserved_for = info.reserved_for.max(Some(entry.ends_in));
            info.reserved_by.push(entry.token);
        } else {
            info.holders.push(note::holder(&entry));
        }
    }
    found
}
