//! Several keys in one request (C11).

use std::sync::Arc;

use super::queued::Queued;
use super::upstream_acquire::UpstreamRequest;
use crate::backend::{Hold, HoldRepr};
use crate::calls::Calls;
use crate::clock::Moment;
use crate::engine::state::KeyRequest;
use crate::engine::table::{Core, Nesting, SlotHold};
use crate::{KeySet, LockError, LostCause, Options, OwnerId, Token};

/// The keys of a set that have been taken so far, in ascending order. They are provisional, and do
/// not age, until the set is complete. Dropping it gives them back.
pub(super) struct Taken {
    pub(super) core: Arc<Core>,
    pub(super) holds: Vec<SlotHold>,
}

impl Taken {
    /// Gives back those from `index` on.
    pub(super) fn give_back(&mut self, index: usize) {
        let mut calls = Calls::default();
        for hold in self.holds.drain(index..).rev() {
            calls.make(|| drop(self.core.release(hold)));
        }
        calls.end();
    }

    /// The first of them that has been ended from outside.
    pub(super) fn first_lost(&self) -> Option<usize> {
        self.holds
            .iter()
            .position(|hold| self.core.freeze(hold.slot()).lost(hold.token, hold.level).is_some())
    }

    /// Makes them one grant: with one token, above every earlier one of each key, and with
    /// age and bounds from now on.
    fn commit(mut self, options: &Options, token: Token) -> Hold {
        let (at_least, at_most) = options.bounds();
        let set = Arc::new(KeySet::new(self.holds.iter().map(|hold| hold.slot().key())));
        let now = self.core.clock.now();
        let mut calls = Calls::default();
        for hold in &self.holds {
            calls.make(|| {
                let mut frozen = self.core.freeze(hold.slot());
                if let Some(entry) = frozen.hold_mut(hold.token, hold.level) {
                    entry.rename(hold.token, hold.level, token);
                    entry.join(hold.level, token, set.clone());
                    if hold.nesting == Nesting::Outermost {
                        entry.begin(at_least, at_most, now);
                        frozen.grant_waiters();
                    }
                }
            });
        }
        // One that was ended just now keeps its name, under which it is known to be lost.
        let mut broken = None;
        for hold in &mut self.holds {
            let mut lost = None;
            calls.make(|| lost = self.core.freeze(hold.slot()).lost(token, hold.level));
            broken = broken.or(lost);
            if lost != Some(LostCause::Forgotten) {
                hold.token = token;
            }
        }
        if let Some(cause) = broken {
            // Before it was known to be one of a set.
            calls.make(|| self.core.end_sets(vec![(set, token, cause)]));
        }
        // If somebody's code has panicked, all of them are given back, by their names.
        calls.end();
        Hold(HoldRepr::Set(std::mem::take(&mut self.holds).into_boxed_slice()))
    }

    /// Raises the tokens of all keys to one that is above what each has granted.
    fn common_token(&self) -> Token {
        let mut greatest = Token::new(0);
        'again: loop {
            for hold in &self.holds {
                greatest = greatest.max(self.core.freeze(hold.slot()).token());
            }
            greatest = self.core.token_above(greatest);
            for hold in &self.holds {
                let mut frozen = self.core.freeze(hold.slot());
                let overtaken = frozen.token() >= greatest;
                frozen.raise_token(greatest);
                if overtaken {
                    continue 'again;
                }
            }
            return greatest;
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.give_back(0);
    }
}

impl Core {
    /// Takes the keys one by one, in order, under one deadline.
    pub(super) async fn acquire_several(
        self: Arc<Self>,
        keys: Vec<Box<str>>,
        mut ask: KeyRequest,
        options: Options,
        since: Moment,
        deadline: Option<Moment>,
    ) -> Result<Hold, LockError> {
        ask.provisional = true;
        if ask.caller.owner.is_none() {
            // The keys taken so far are held by this wait for the next one (C10).
            let owner = OwnerId::acquisition();
            ask.caller.owner = Some(owner);
            ask.caller.within.insert(0, owner);
        } else if ask.caller.within.is_empty() {
            // Of a shared owner, of whom no more is known.
            ask.caller.within.push(OwnerId::acquisition());
        }
        ask.caller.opens_scope = false;
        ask.has_upstream = self.upstream.is_some();
        let bid = UpstreamRequest { ask, options, since: Some(since), deadline, part_of_set: true };
        let mut taken = Taken { core: self.clone(), holds: Vec::with_capacity(keys.len()) };
        loop {
            while let Some(key) = keys.get(taken.holds.len()) {
                let hold = match &self.upstream {
                    None => {
                        let queued =
                            Queued::new(self.pin(key), bid.ask.clone(), bid.since, deadline);
                        queued.await?
                    }
                    // In a box, so that the others need no room for it.
                    Some(upstream) if upstream.claims_sets() => {
                        Box::pin(self.acquire_provisional(&**upstream, key, since, &bid)).await?
                    }
                    Some(upstream) => {
                        Box::pin(self.acquire_at_upstream(&**upstream, key, &bid)).await?
                    }
                };
                taken.holds.push(hold);
            }
            if let Some(lost) = taken.first_lost() {
                taken.give_back(lost);
                continue;
            }
            let token = match &self.upstream {
                None => Some(taken.common_token()),
                Some(upstream) if upstream.claims_sets() => {
                    Box::pin(taken.claim(&**upstream, &bid)).await?
                }
                Some(upstream) => Box::pin(taken.complete(&**upstream, &options)).await?,
            };
            if let Some(token) = token {
                return Ok(taken.commit(&options, token));
            }
        }
    }
}
