use std::sync::Arc;

use super::registry::Registry;
use super::waits::Waits;
use crate::engine::ports::{Observer, Time, TokenSource, Upstream};
use crate::engine::state::{PROVISIONAL, Revoked};
use crate::{BackendInfo, Token};

/// What an engine is made of; shared by its handles, its waiters and its alarms.
pub(in crate::engine) struct Core {
    pub(in crate::engine) about: BackendInfo,
    pub(in crate::engine) registry: Registry,
    pub(in crate::engine) clock: Time,
    pub(in crate::engine) tokens: Option<Arc<dyn TokenSource>>,
    pub(in crate::engine) upstream: Option<Arc<dyn Upstream>>,
    pub(in crate::engine) observer: Option<Arc<dyn Observer>>,
    pub(in crate::engine) waits: Waits,
    /// Whether free keys are granted by the fast path.
    pub(in crate::engine) has_fast_path: bool,
}

impl Core {
    /// Returns a token above this one, for the next grant. May run code of the user's
    /// `TokenSource`.
    pub(in crate::engine) fn token_above(&self, token: Token) -> Token {
        let Some(source) = &self.tokens else { return Token::new(token.get() + 1) };
        let next = source.next(token);
        assert!(
            next > token && next.get() < PROVISIONAL,
            "C7: `TokenSource` went from {token} to {next}"
        );
        next
    }

    /// Reports the loss to subscribers. What clients of an arbiter lose is theirs, and the
    /// arbiter's, to tell.
    pub(in crate::engine) fn tell_subscribers(key: &str, lost: &Revoked) {
        if lost.owner.is_none_or(|owner| owner.realm() == 0) {
            crate::observe::lost(
                key,
                lost.token,
                lost.cause,
                Some(&lost.holder),
                lost.thief.as_ref(),
            );
        }
    }

    pub(in crate::engine) fn tell_observer(&self, key: &str, lost: &Revoked) {
        // What the upstream has not granted was no hold.
        if let Some(observer) = self.observer.as_ref().filter(|_| lost.token.get() < PROVISIONAL) {
            observer.lost(&lost.loss(key));
        }
    }
}
