//! The files as what stands behind the engine.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use locks_core::{
    Claim, ClaimSet, Completion, HolderInfo, LockError, LockInfo, LostCause, Op, Query, Token,
    Upstream, UpstreamEnd, UpstreamGrant,
};

use crate::files::Files;
use crate::{claim, evict, kernel, list, terms};

pub(crate) struct Behind(pub(crate) Arc<Files>);

impl Upstream for Behind {
    fn claim<'a>(&'a self, claim: Claim<'a>) -> Op<'a, UpstreamGrant> {
        claim::claim(&self.0, claim)
    }

    fn claims_sets(&self) -> bool {
        false
    }

    fn claim_set<'a>(&'a self, _: ClaimSet<'a>) -> Op<'a, UpstreamGrant> {
        unreachable!("`claims_sets`: a set of files is claimed one by one")
    }

    fn end(&self, _: &str, turn: UpstreamGrant, how: UpstreamEnd) -> Op<'static, ()> {
        Op::Now(self.0.end(turn.id, how.next.is_some(), how.reserves))
    }

    fn stolen_from(&self, _: &str, turn: UpstreamGrant) -> Vec<HolderInfo> {
        self.0.held(turn.id).map_or_else(Vec::new, |held| held.stolen_from.clone())
    }

    fn poll_lost(
        &self,
        _: &str,
        turn: UpstreamGrant,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<LostCause> {
        let Some(held) = self.0.held(turn.id) else {
            return Poll::Ready(LostCause::Forgotten);
        };
        if self.0.is_forked() {
            return Poll::Ready(LostCause::Forked);
        }
        held.poll_lost(cx.map(|cx| cx.waker())).map_or(Poll::Pending, Poll::Ready)
    }

    fn unwatch(&self, _: &str, turn: UpstreamGrant, waker: &Waker) {
        if let Some(held) = self.0.held(turn.id) {
            held.unwatch(waker);
        }
    }

    fn complete(&self, key: &str, turn: UpstreamGrant, completion: Completion) -> Op<'static, ()> {
        let Some(held) = self.0.held(turn.id) else { return forgotten(key, turn) };
        terms::change(&self.0, held, move |terms| {
            terms.greatest = terms.greatest.max(completion.token.get());
            if let Some(bounds) = completion.bounds {
                terms.token = terms.greatest;
                terms.begin(bounds.hold_at_least, bounds.hold_at_most, kernel::now());
            }
        })
    }

    fn refresh(&self, key: &str, turn: UpstreamGrant) -> Op<'static, ()> {
        let Some(held) = self.0.held(turn.id) else { return forgotten(key, turn) };
        terms::change(&self.0, held, |terms| terms.since = kernel::now())
    }

    fn inspect(&self, query: Query) -> Op<'static, Vec<LockInfo>> {
        Op::Now(list::inspect(&self.0, &query))
    }

    fn evict(&self, key: &str, token: Token) -> Op<'static, bool> {
        evict::evict(&self.0, key, token)
    }
}

fn forgotten(key: &str, turn: UpstreamGrant) -> Op<'static, ()> {
    let kind = locks_core::ErrorKind::Lost { cause: LostCause::Forgotten };
    Op::failed(LockError::new(kind, key).with_token(turn.token))
}
