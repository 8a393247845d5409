use std::sync::Arc;

use super::ask::KeyRequest;
use crate::Token;
use crate::clock::Moment;
use crate::request::FastHolder;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A request that waits: shared by the queue, or the hold it was granted, and the request.
///
/// | outcome | set by |
/// |---|---|
/// | `WAITING` | the request, as it queues |
/// | a token | whoever grants it, under the slot's mutex |
/// | `TAKEN` | the request, by an exchange of the token, without the mutex |
/// | `REVOKED` | whoever ends the hold before that, by an exchange of the token, under the mutex |
///
/// * W1: of the exchanges of a token one wins: its hold has a guard, or the request asks again.
/// * W2: the token is stored with `Release` and taken with `Acquire`, which makes what the last
///   holder did known to this one.
pub(in crate::engine) struct Waiter {
    pub(in crate::engine) ask: KeyRequest,
    /// Who will hold the key, if it asks for no more than the fast path has to give.
    pub(in crate::engine) plain: Option<FastHolder>,
    /// Since when it stands in the queue.
    pub(in crate::engine) since: Moment,
    /// The token of its shared hold, if it waits to make that exclusive (C9).
    pub(in crate::engine) upgrades: Option<Token>,
    outcome: AtomicU64,
    /// Of its grant; written before the token.
    level: AtomicU32,
}

const WAITING: u64 = 0;
const REVOKED: u64 = u64::MAX - 1;
const TAKEN: u64 = u64::MAX;

/// A grant: the token, and which guard of a nest it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Grant {
    pub(in crate::engine) token: Token,
    pub(in crate::engine) level: u32,
}

/// What has become of a waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Outcome {
    Waiting,
    Granted(Grant),
    Revoked,
}

impl Waiter {
    /// One that is yet to ask.
    pub(in crate::engine) fn new(ask: KeyRequest) -> Arc<Self> {
        Arc::new(Self {
            plain: ask.as_plain(),
            ask,
            since: Moment::from_nanos(0),
            upgrades: None,
            outcome: AtomicU64::new(WAITING),
            level: AtomicU32::new(0),
        })
    }

    /// Takes the grant, if there is one. By the request alone, and not again after that.
    pub(in crate::engine) fn take(&self) -> Outcome {
        let found = self.outcome.load(Ordering::Acquire);
        let level = self.level.load(Ordering::Relaxed);
        match found {
            WAITING => Outcome::Waiting,
            REVOKED => Outcome::Revoked,
            token => match self.exchange(token, TAKEN) {
                true => Outcome::Granted(Grant { token: Token::new(token), level }),
                false => Outcome::Revoked,
            },
        }
    }

    pub(super) fn grant(&self, grant: Grant) {
        self.level.store(grant.level, Ordering::Relaxed);
        self.outcome.store(grant.token.get(), Ordering::Release);
    }

    /// Takes the grant back. Returns `false` if the request has taken it.
    pub(super) fn revoke(&self) -> bool {
        let found = self.outcome.load(Ordering::Relaxed);
        found != TAKEN && self.exchange(found, REVOKED)
    }

    /// Whether it was granted this and has not taken it.
    pub(super) fn is_granted(&self, token: Token) -> bool {
        self.outcome.load(Ordering::Relaxed) == token.get()
    }

    pub(super) fn has_taken(&self) -> bool {
        self.outcome.load(Ordering::Acquire) == TAKEN
    }

    fn exchange(&self, from: u64, to: u64) -> bool {
        self.outcome.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}
