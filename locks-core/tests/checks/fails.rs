//! A backend that does not take back what it grants.

use std::task::{Context, Poll, Waker};

use locks_core::{
    Backend, BackendInfo, Capabilities, Granted, Hold, HolderInfo, LockBackend, LockError,
    LockInfo, LostCause, Op, Query, Request, Token,
};

/// Grants everything, and fails to take it back.
struct Fails {
    about: BackendInfo,
    how: fn() -> LockError,
}

/// A backend whose releases fail like that.
pub(crate) fn fails(how: fn() -> LockError) -> Backend {
    let about = BackendInfo::new("fails:", Capabilities::process());
    Backend::new(Fails { about, how })
}

impl LockBackend for Fails {
    fn about(&self) -> &BackendInfo {
        &self.about
    }

    fn acquire<'a>(&'a self, _: Request<'a>) -> Op<'a, Granted> {
        Op::ready(Granted::new(Hold::new(1, Token::new(1))))
    }

    fn release(&self, _: Hold) -> Op<'static, ()> {
        Op::failed((self.how)())
    }

    fn poll_lost(&self, _: &Hold, _: Option<&mut Context<'_>>) -> Poll<LostCause> {
        Poll::Pending
    }

    fn unwatch(&self, _: &Hold, _: &Waker) {}

    fn refresh(&self, _: &Hold) -> Op<'static, ()> {
        Op::ready(())
    }

    fn detach_owner(&self, _: &Hold) {}

    fn mark_done(&self, _: &Hold) {}

    fn stolen_from(&self, _: &Hold) -> Vec<HolderInfo> {
        Vec::new()
    }

    fn share(&self, _: &Hold) -> Op<'static, ()> {
        Op::failed(LockError::unsupported("it", "downgrade", "it has no shared holds"))
    }

    fn keys(&self, _: &Hold) -> Vec<String> {
        Vec::new()
    }

    fn inspect(&self, _: Query) -> Op<'static, Vec<LockInfo>> {
        Op::ready(Vec::new())
    }

    fn evict(&self, _: &str, _: Token) -> Op<'static, bool> {
        Op::ready(false)
    }
}
