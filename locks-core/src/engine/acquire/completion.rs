//! Several keys that an upstream has granted become one grant (C11).

use super::several::Taken;
use super::upstream_acquire::UpstreamRequest;
use crate::calls::Calls;
use crate::engine::ports::{Bounds, ClaimSet, Completion, Upstream, UpstreamEnd, UpstreamGrant};
use crate::engine::table::Nesting;
use crate::{ErrorKind, LockError, Options, Token};

impl Taken {
    /// Has the upstream grant all of them in one step. `None`: one of them was ended meanwhile, and
    /// all are to be taken again.
    pub(super) async fn claim(
        &mut self,
        upstream: &dyn Upstream,
        bid: &UpstreamRequest,
    ) -> Result<Option<Token>, LockError> {
        let own = self.holds.iter().filter(|hold| hold.nesting == Nesting::Outermost);
        let keys: Vec<Box<str>> = own.clone().map(|hold| hold.slot().key().into()).collect();
        let nested = self.holds.iter().filter(|hold| hold.nesting == Nesting::Inner);
        let nested = nested.map(|hold| hold.token).max();
        let name = self.core.about.name.clone();
        if keys.is_empty() {
            let why = "the caller holds every one of these keys already: take one that it does \
                       not hold as well, or nest in them one by one";
            return Err(LockError::unsupported(&name, "several keys, `reentrant`", why));
        }
        let edges: Vec<_> = own.map(|hold| self.core.wait_upstream(hold, &bid.ask)).collect();
        let now = self.core.clock.now();
        let claim = ClaimSet {
            keys: &keys.iter().map(|key| &**key).collect::<Vec<_>>(),
            options: bid.options_at(now),
            caller: &bid.ask.caller,
            waited: now.since(bid.since.unwrap_or(now)),
        };
        let claimed = upstream.claim_set(claim).await;
        drop(edges);
        let grant = claimed.map_err(|error| bid.waited(error, &self.core))?;
        if let Err(error) = grant.token.granted(&keys[0]) {
            for key in &keys {
                drop(upstream.end(key, grant, UpstreamEnd::UNHELD));
            }
            return Err(error);
        }
        let mut stand = true;
        let mut calls = Calls::default();
        for index in 0..self.holds.len() {
            // All of them, so that each is ended should somebody's code panic.
            stand &= calls.make(|| self.rename(index, grant, grant.token)).unwrap_or(false);
        }
        // C7: a guard's token is above all earlier ones of each of its keys.
        let is_above = nested.is_none_or(|nested| nested < grant.token);
        if stand && is_above {
            return Ok(Some(grant.token));
        }
        // What was ended here knew of no grant: so all of them are ended at the upstream, whatever
        // else happens.
        calls.make(|| self.give_back(0));
        for key in &keys {
            calls.make(|| drop(upstream.end(key, grant, UpstreamEnd::UNHELD)));
        }
        calls.end();
        if is_above {
            return Ok(None);
        }
        let why = format!("`{name}` has no tokens that grow across keys, which sets need");
        Err(LockError::new(ErrorKind::Protocol, &*keys[0]).with_message(why))
    }

    /// Has the upstream give all of them one token, with age and bounds from now on. `None`: one of
    /// them was lost before; it has been given back, with those behind it, and is to be taken
    /// again.
    pub(super) async fn complete(
        &mut self,
        upstream: &dyn Upstream,
        options: &Options,
    ) -> Result<Option<Token>, LockError> {
        let token = self.greatest_token().granted(self.holds[0].slot().key())?;
        let (hold_at_least, hold_at_most) = options.bounds();
        if !self
            .complete_with(upstream, token, Bounds { hold_at_least: None, hold_at_most })
            .await?
        {
            return Ok(None);
        }
        // Nothing is reserved for a set that comes to nothing after all.
        if hold_at_least.is_some()
            && !self.complete_with(upstream, token, Bounds { hold_at_least, hold_at_most }).await?
        {
            return Ok(None);
        }
        // One that was completed first may have been lost before the last one was.
        if let Some(lost) = self.first_lost() {
            self.give_back(lost);
            return Ok(None);
        }
        Ok(Some(token))
    }

    /// Has each of them completed. `false`: one was lost before, and has been given back with those
    /// behind it.
    async fn complete_with(
        &mut self,
        upstream: &dyn Upstream,
        token: Token,
        bounds: Bounds,
    ) -> Result<bool, LockError> {
        for index in 0..self.holds.len() {
            let hold = &self.holds[index];
            let Ok(Some(grant)) = self.core.with_hold(hold, |entry| entry.upstream_grant) else {
                self.give_back(index);
                return Ok(false);
            };
            let bounds = (hold.nesting == Nesting::Outermost).then_some(bounds);
            let completion = Completion { token, bounds };
            let completed = upstream.complete(hold.slot().key(), grant, completion).await;
            let stands = match completed.map_err(|error| (error.kind(), error)) {
                Ok(()) => self.rename(index, grant, token),
                Err((ErrorKind::Lost { cause }, _)) => {
                    self.core.end(hold.slot().key(), hold.token, cause);
                    false
                }
                Err((_, error)) => return Err(error),
            };
            if !stands {
                self.give_back(index);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The greatest of their tokens: each is above every earlier one of its own key, so that this
    /// one is above all of each.
    ///
    /// Unless somebody shares a key with them who has come later, or one of them is nested: a nest
    /// has the token of the guard around it, from which the set must be told apart. Then it is one
    /// above all of these.
    fn greatest_token(&self) -> Token {
        let (mut own, mut others) = (Token::new(0), Token::new(0));
        for hold in &self.holds {
            let frozen = self.core.freeze(hold.slot());
            if hold.nesting == Nesting::Inner {
                others = others.max(frozen.token());
            } else {
                own = own.max(hold.token);
                let shares = frozen.holds().iter().filter(|other| other.token != hold.token);
                let granted = shares.filter(|other| other.is_granted()).map(|other| other.token);
                others = granted.fold(others, Token::max);
            }
        }
        if own > others { own } else { Token::new(others.get() + 1) }
    }

    /// A member is known by the token of the whole from now on. Says whether it is still there.
    fn rename(&mut self, index: usize, grant: UpstreamGrant, token: Token) -> bool {
        let hold = &mut self.holds[index];
        let (mut calls, mut stands) = (Calls::default(), false);
        calls.make(|| {
            let mut frozen = self.core.freeze(hold.slot());
            frozen.raise_token(token);
            if let Some(entry) = frozen.hold_mut(hold.token, hold.level) {
                entry.rename(hold.token, hold.level, token);
                if hold.nesting == Nesting::Outermost {
                    entry.upstream_grant = Some(UpstreamGrant { token, ..grant });
                }
                stands = true;
            }
        });
        if stands {
            hold.token = token;
        }
        calls.end();
        stands
    }
}
