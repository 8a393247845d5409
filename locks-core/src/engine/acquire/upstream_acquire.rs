//! Provisional holds, which the upstream has to grant.

use std::sync::Arc;

use super::hold::ReleaseOnDrop;
use super::queued::Queued;
use crate::clock::Moment;
use crate::engine::inspect::Edge;
use crate::engine::ports::{Claim, Upstream, UpstreamEnd, UpstreamGrant, lost_error};
use crate::engine::state::KeyRequest;
use crate::engine::table::{Core, Nesting, SlotHold};
use crate::identity::OwnerChain;
use crate::{ErrorKind, LockError, LostCause, Options, Query, Wait};

/// What a request asks the upstream for, key by key.
pub(super) struct UpstreamRequest {
    pub(super) ask: KeyRequest,
    pub(super) options: Options,
    /// Since when it waits, if its wait has an end or it is one of several.
    pub(super) since: Option<Moment>,
    pub(super) deadline: Option<Moment>,
    /// One of several keys.
    pub(super) part_of_set: bool,
}

impl UpstreamRequest {
    /// The options, with what is left of the wait.
    pub(super) fn options_at(&self, now: Moment) -> Options {
        let mut options = self.options;
        if let Some(deadline) = self.deadline {
            options.wait = Some(Wait::AtMost(deadline.since(now)));
        }
        options
    }

    /// A timeout of the upstream's covers the local wait as well.
    pub(super) fn waited(&self, error: LockError, core: &Core) -> LockError {
        match self.since {
            Some(since) if error.kind() == ErrorKind::Timeout => {
                error.with_waited(core.clock.now().since(since))
            }
            _ => error,
        }
    }
}

impl Core {
    /// One key that the upstream has to grant.
    pub(super) async fn acquire_upstream(
        self: Arc<Self>,
        upstream: Arc<dyn Upstream>,
        key: Box<str>,
        mut ask: KeyRequest,
        options: Options,
        since: Option<Moment>,
        deadline: Option<Moment>,
    ) -> Result<SlotHold, LockError> {
        ask.provisional = true;
        ask.has_upstream = true;
        let bid = UpstreamRequest { ask, options, since, deadline, part_of_set: false };
        self.acquire_at_upstream(&*upstream, &key, &bid).await
    }

    /// Acquires provisionally in this engine, and then asks the upstream.
    pub(super) async fn acquire_at_upstream(
        self: &Arc<Self>,
        upstream: &dyn Upstream,
        key: &str,
        bid: &UpstreamRequest,
    ) -> Result<SlotHold, LockError> {
        let &UpstreamRequest { ref ask, since, part_of_set, .. } = bid;
        let asked = since.unwrap_or_else(|| self.clock.now());
        let hold = self.acquire_provisional(upstream, key, asked, bid).await?;
        if hold.nesting == Nesting::Inner {
            // Nesting in what the upstream has granted.
            return Ok(hold);
        }
        let _edge = self.wait_upstream(&hold, ask);
        let local = ReleaseOnDrop::new(self, hold);
        let now = self.clock.now();
        let (options, waited) = (bid.options_at(now), now.since(asked));
        let claim = Claim { key, options, caller: &ask.caller, part_of_set, waited };
        let grant = upstream.claim(claim).await.map_err(|error| bid.waited(error, self))?;
        if let Err(error) = grant.token.granted(key) {
            drop(upstream.end(key, grant, UpstreamEnd::UNHELD));
            return Err(error);
        }
        self.commit(local.hand_on(), grant, bid)
    }

    /// Waits for its turn among the waiters of this engine.
    pub(super) async fn acquire_provisional(
        self: &Arc<Self>,
        upstream: &dyn Upstream,
        key: &str,
        asked: Moment,
        bid: &UpstreamRequest,
    ) -> Result<SlotHold, LockError> {
        let mut ask = bid.ask.clone();
        ask.provisional_since = Some(asked);
        match Queued::new(self.pin(key), ask, bid.since, bid.deadline).await {
            Ok(hold) => Ok(hold),
            Err(error) => Err(self.name_holders(upstream, error).await),
        }
    }

    /// Has the wait for the upstream stand in the graph. Nobody else stands beside what is not
    /// complete but a thief: others wait in the queue, and are in the graph there.
    pub(super) fn wait_upstream(
        self: &Arc<Self>,
        hold: &SlotHold,
        ask: &KeyRequest,
    ) -> Option<Edge> {
        let blocks =
            if ask.steal_after.is_some() { ask.caller.blocks() } else { OwnerChain::new() };
        let pinned = || self.find(hold.slot().key()).expect("its hold keeps the slot");
        (!blocks.is_empty()).then(|| Edge::enter_provisional(pinned(), hold.token, blocks))
    }

    /// Makes a provisional hold the grant that the upstream says it is.
    fn commit(
        self: &Arc<Self>,
        mut hold: SlotHold,
        grant: UpstreamGrant,
        bid: &UpstreamRequest,
    ) -> Result<SlotHold, LockError> {
        let SlotHold { token, level, .. } = hold;
        hold.token = grant.token;
        let kept = ReleaseOnDrop::new(self, hold);
        let mut frozen = self.freeze(kept.slot());
        let now = frozen.now();
        let known = frozen.hold_mut(token, level).is_some_and(|entry| {
            entry.rename(token, level, grant.token);
            entry.upstream_grant = Some(grant);
            if !bid.part_of_set {
                // The upstream keeps the key reserved as well.
                entry.begin(bid.ask.at_least, bid.ask.at_most, now);
            }
            true
        });
        frozen.raise_token(grant.token);
        if !known {
            // An administrator has ended it meanwhile, and nothing was done under it.
            frozen.end_upstream(Some(grant), false);
        }
        frozen.grant_waiters();
        drop(frozen);
        let mut hold = kept.hand_on();
        if known {
            return Ok(hold);
        }
        hold.token = token;
        let key: Box<str> = hold.slot().key().into();
        drop(self.release(hold));
        Err(lost_error(&key, grant.token, LostCause::Evicted))
    }

    /// While all who are in the way here hold provisionally, it is the upstream's holder that is
    /// waited for.
    async fn name_holders(&self, upstream: &dyn Upstream, error: LockError) -> LockError {
        if !error.is_contended() || !error.holders().is_empty() {
            return error;
        }
        let found = upstream.inspect(Query::Key(error.key().to_owned())).await;
        match found.map(|infos| infos.into_iter().next()) {
            Ok(Some(info)) => error.with_holders(info.holders).with_reserved_for(info.reserved_for),
            // Those in the way have heard as little of it: it is not known that somebody holds the
            // key (C2).
            Err(silent) if silent.kind() == ErrorKind::Unavailable => {
                let silent = silent.with_key(error.key());
                match error.waited() {
                    Some(waited) => silent.with_waited(waited),
                    None => silent,
                }
            }
            Ok(None) | Err(_) => error,
        }
    }
}
