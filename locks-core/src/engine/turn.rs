//! Turns that the upstream has to grant.

use std::sync::Arc;

use super::Core;
use super::graph::Edge;
use super::queued::{Kept, Queued};
use super::state::Ask;
use super::upstream::{Claim, Turn, TurnEnd, Upstream, lost_error};
use crate::backend::{Nested, SlotHold};
use crate::clock::Moment;
use crate::identity::Within;
use crate::{ErrorKind, LockError, LostCause, Options, Query, Wait};

/// What a request asks the upstream for, key by key.
pub(super) struct Bid {
    pub(super) ask: Ask,
    pub(super) options: Options,
    /// Since when it waits, if its wait has an end or it is one of several.
    pub(super) since: Option<Moment>,
    pub(super) deadline: Option<Moment>,
    /// One of several keys.
    pub(super) part: bool,
}

impl Bid {
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
        mut ask: Ask,
        options: Options,
        since: Option<Moment>,
        deadline: Option<Moment>,
    ) -> Result<SlotHold, LockError> {
        ask.is_turn = true;
        ask.has_upstream = true;
        let bid = Bid { ask, options, since, deadline, part: false };
        self.take_turn(&*upstream, &key, &bid).await
    }

    /// Takes its turn among the waiters of this engine, and then asks the upstream.
    pub(super) async fn take_turn(
        self: &Arc<Self>,
        upstream: &dyn Upstream,
        key: &str,
        bid: &Bid,
    ) -> Result<SlotHold, LockError> {
        let &Bid { ref ask, since, part, .. } = bid;
        let asked = since.unwrap_or_else(|| self.clock.now());
        let hold = self.take_local_turn(upstream, key, asked, bid).await?;
        if hold.nested == Nested::Yes {
            // Nested in what the upstream has granted.
            return Ok(hold);
        }
        let _edge = self.wait_upstream(&hold, ask);
        let local = Kept::new(self, hold);
        let now = self.clock.now();
        let (options, waited) = (bid.options_at(now), now.since(asked));
        let claim = Claim { key, options, caller: &ask.caller, part, waited };
        let turn = upstream.claim(claim).await.map_err(|error| bid.waited(error, self))?;
        if let Err(error) = turn.token.granted(key) {
            drop(upstream.end(key, turn, TurnEnd::UNHELD));
            return Err(error);
        }
        self.commit(local.hand_on(), turn, bid)
    }

    /// Takes its turn among the waiters of this engine.
    pub(super) async fn take_local_turn(
        self: &Arc<Self>,
        upstream: &dyn Upstream,
        key: &str,
        asked: Moment,
        bid: &Bid,
    ) -> Result<SlotHold, LockError> {
        let mut ask = bid.ask.clone();
        ask.turn_since = Some(asked);
        match Queued::new(self.pin(key), ask, bid.since, bid.deadline).await {
            Ok(hold) => Ok(hold),
            Err(error) => Err(self.name_holders(upstream, error).await),
        }
    }

    /// Has the wait for the upstream stand in the graph. Nobody else stands beside what is not
    /// complete but a thief: others wait in the queue, and are in the graph there.
    pub(super) fn wait_upstream(self: &Arc<Self>, hold: &SlotHold, ask: &Ask) -> Option<Edge> {
        let blocks = if ask.steal_after.is_some() { ask.caller.blocks() } else { Within::new() };
        let pinned = || self.find(hold.slot().key()).expect("its hold keeps the slot");
        (!blocks.is_empty()).then(|| Edge::enter_turn(pinned(), hold.token, blocks))
    }

    /// Makes a turn the grant that the upstream says it is.
    fn commit(
        self: &Arc<Self>,
        mut hold: SlotHold,
        turn: Turn,
        bid: &Bid,
    ) -> Result<SlotHold, LockError> {
        let SlotHold { token, level, .. } = hold;
        hold.token = turn.token;
        let kept = Kept::new(self, hold);
        let mut frozen = self.freeze(kept.slot());
        let now = frozen.now();
        let known = frozen.hold_mut(token, level).is_some_and(|entry| {
            entry.rename(token, level, turn.token);
            entry.turn = Some(turn);
            if !bid.part {
                // The upstream keeps the key reserved as well.
                entry.begin(bid.ask.at_least, bid.ask.at_most, now);
            }
            true
        });
        frozen.raise_token(turn.token);
        if !known {
            // An administrator has ended the turn meanwhile, and nothing was done under it.
            frozen.end_upstream(Some(turn), false);
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
        Err(lost_error(&key, turn.token, LostCause::Evicted))
    }

    /// While all who are in the way here are turns, it is the upstream's holder that is waited for.
    async fn name_holders(&self, upstream: &dyn Upstream, error: LockError) -> LockError {
        if !error.is_contended() || !error.holders().is_empty() {
            return error;
        }
        let found = upstream.inspect(Query::Key(error.key().to_owned())).await;
        match found.ok().and_then(|infos| infos.into_iter().next()) {
            Some(info) => error.with_holders(info.holders).with_reserved_for(info.reserved_for),
            None => error,
        }
    }
}
