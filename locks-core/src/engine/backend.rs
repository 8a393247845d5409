//! The engine as a backend.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::Engine;
use super::acquire::{Attempt, PendingHold};
use super::ports::lost_error;
use super::table::{Core, PinnedKey, SlotHold, SlotRef};
use crate::backend::HoldRepr;
use crate::calls::Calls;
use crate::request::FastHolder;
use crate::{
    BackendInfo, Granted, Hold, HolderInfo, LockError, LockInfo, LostCause, Op, OwnerId, Query,
    Request, SystemClock, Token, check_key,
};

impl Engine {
    /// Acquires as [`acquire`](crate::LockBackend::acquire) does, by an operation that borrows
    /// nothing and so can be stored.
    pub fn request(&self, request: Request<'_>) -> Op<'static, Granted> {
        match self.core.begin(request, None, false) {
            Attempt::Granted(hold) => Op::ready(Granted::new(hold)),
            // It has been polled once.
            Attempt::Pending(PendingHold::Further(op)) => {
                Op::later(async { op.await.map(Granted::new) })
            }
            Attempt::Pending(mut waiting) => {
                match Pin::new(&mut waiting).poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(outcome) => Op::Now(outcome.map(Granted::new)),
                    Poll::Pending => Op::later(async { waiting.await.map(Granted::new) }),
                }
            }
            Attempt::Refused(error) => Op::failed(error),
        }
    }

    /// Detaches the hold from its owner as [`detach_owner`](crate::LockBackend::detach_owner) does,
    /// and gives it to `owner`, for a server that identifies its clients by the owner.
    pub fn detach_owner_to(&self, hold: &Hold, owner: Option<OwnerId>) {
        if !self.granted(hold) {
            return;
        }
        for hold in hold.slots() {
            // A hold that is lost belongs to nobody as it is.
            let _ = self
                .core
                .with_hold(hold, |entry| entry.detach_owner(hold.level, hold.token, owner));
        }
    }

    /// One key, held exclusively and without bounds, if it is free.
    #[inline(never)]
    pub(crate) fn try_acquire_fast(
        &self,
        key: &str,
        steals: bool,
        is_fair: bool,
        holder: FastHolder,
    ) -> Option<(SlotRef, Token)> {
        if !self.core.has_fast_path {
            return None;
        }
        if steals {
            SystemClock::expect_thieves();
        }
        self.core.try_acquire_fast(key, is_fair, holder)
    }

    /// Any request, for a thread that waits itself. A single key may have been looked up before, if
    /// this is the engine of the process.
    pub(crate) fn acquire_blocking(
        &self,
        request: Request<'_>,
        pinned: Option<PinnedKey>,
    ) -> Result<Hold, LockError> {
        self.core.begin(request, pinned, true).wait()
    }

    /// Grants a plain lock on a free key at once. Anything else is asked for when it is first
    /// polled.
    #[inline]
    pub(crate) fn begin(&self, request: Request<'_>, pinned: Option<PinnedKey>) -> Attempt {
        self.core.begin(request, pinned, false)
    }

    /// Gives back a hold that this engine has granted.
    #[inline]
    pub(crate) fn release_own(&self, hold: Hold) -> Op<'static, ()> {
        match hold.0 {
            HoldRepr::Slot(hold) => self.core.release(hold),
            HoldRepr::Set(holds) => {
                let mut calls = Calls::default();
                let release = |hold| calls.make(|| self.core.release(hold));
                let released = holds.into_iter().filter_map(release).collect::<Vec<_>>();
                calls.end();
                Op::all(released)
            }
            HoldRepr::Id { token, .. } => Op::failed(foreign(&self.core, token)),
        }
    }

    /// Whether a hold that this engine has granted is lost.
    pub(crate) fn poll_own(
        &self,
        hold: &Hold,
        mut cx: Option<&mut Context<'_>>,
    ) -> Poll<LostCause> {
        for hold in hold.slots() {
            if let Poll::Ready(cause) = self.core.poll_lost(hold, cx.as_deref_mut()) {
                return Poll::Ready(cause);
            }
        }
        Poll::Pending
    }

    /// Whether it was this engine that granted it; what another has granted is not touched (C4).
    pub(super) fn granted(&self, hold: &Hold) -> bool {
        let slots = hold.slots();
        !slots.is_empty() && slots.iter().all(|hold| self.core.registry.has(hold))
    }
}

/// The operations of a [`LockBackend`](crate::LockBackend).
impl Engine {
    /// Returns the name and the capabilities of the engine.
    pub fn about(&self) -> &BackendInfo {
        &self.core.about
    }

    /// Returns a description of the server behind the engine's upstream; see
    /// [`LockBackend::served_by`](crate::LockBackend::served_by).
    pub fn served_by(&self) -> Option<String> {
        self.core.upstream.as_ref()?.served_by()
    }

    /// Grants the request's keys, all or none; see
    /// [`LockBackend::acquire`](crate::LockBackend::acquire).
    ///
    /// # Errors
    /// As [`LockBackend::acquire`](crate::LockBackend::acquire).
    ///
    /// # Cancel safety
    /// Dropping the operation withdraws the request ([C5](crate::contract#c5-cancellation)).
    pub fn acquire<'a>(&'a self, request: Request<'a>) -> Op<'a, Granted> {
        self.request(request)
    }

    /// Ends the hold; see [`LockBackend::release`](crate::LockBackend::release).
    ///
    /// # Errors
    /// `Lost` if the hold was lost before; then nothing is touched.
    ///
    /// # Cancel safety
    /// Dropping the operation discards its outcome; the hold ends all the same.
    pub fn release(&self, hold: Hold) -> Op<'static, ()> {
        if !self.granted(&hold) {
            return Op::failed(foreign(&self.core, hold.token()));
        }
        self.release_own(hold)
    }

    /// Returns the cause if the hold is lost; see
    /// [`LockBackend::poll_lost`](crate::LockBackend::poll_lost).
    pub fn poll_lost(&self, hold: &Hold, cx: Option<&mut Context<'_>>) -> Poll<LostCause> {
        if !self.granted(hold) {
            return Poll::Ready(LostCause::Forgotten);
        }
        self.poll_own(hold, cx)
    }

    /// Removes a waker that [`poll_lost`](Self::poll_lost) registered.
    pub fn unwatch(&self, hold: &Hold, waker: &Waker) {
        if self.granted(hold) {
            hold.slots().iter().for_each(|hold| self.core.unwatch(hold, waker));
        }
    }

    /// Returns the lease of the hold, and the time from now for which it is certain to last; see
    /// [`LockBackend::validity`](crate::LockBackend::validity).
    pub fn validity(&self, hold: &Hold) -> Option<(Duration, Duration)> {
        let upstream = self.core.upstream.as_ref().filter(|_| self.granted(hold))?;
        let of = |hold: &SlotHold| {
            let mut grant = None;
            let _ = self.core.with_hold(hold, |entry| grant = entry.upstream_grant);
            upstream.validity(hold.slot().key(), grant?)
        };
        hold.slots().iter().filter_map(of).min_by_key(|(_, left)| *left)
    }

    /// Resets the age of the hold to zero; see
    /// [`LockBackend::refresh`](crate::LockBackend::refresh).
    ///
    /// # Errors
    /// `Lost` if the hold is lost, `Unavailable` or another kind if the backend cannot answer.
    pub fn refresh(&self, hold: &Hold) -> Op<'static, ()> {
        if !self.granted(hold) {
            return Op::failed(foreign(&self.core, hold.token()));
        }
        let mut renewed = Vec::new();
        for hold in hold.slots() {
            match (self.core.refresh(hold), &self.core.upstream) {
                (Err(error), _) => return Op::failed(error),
                (Ok(Some(grant)), Some(upstream)) => {
                    renewed.push(upstream.refresh(hold.slot().key(), grant));
                }
                (Ok(_), _) => {}
            }
        }
        Op::all(renewed)
    }

    /// Detaches the hold from its owner; see
    /// [`LockBackend::detach_owner`](crate::LockBackend::detach_owner).
    pub fn detach_owner(&self, hold: &Hold) {
        self.detach_owner_to(hold, None);
    }

    /// Marks the work under the hold as done; see
    /// [`LockBackend::mark_done`](crate::LockBackend::mark_done).
    pub fn mark_done(&self, hold: &Hold) {
        if !self.granted(hold) {
            return;
        }
        for hold in hold.slots() {
            // One that is lost reserves nothing.
            let _ = self.core.with_hold(hold, |entry| entry.mark_done(hold.level, hold.token));
        }
    }

    /// Returns the holds from which the hold was stolen; see
    /// [`LockBackend::stolen_from`](crate::LockBackend::stolen_from).
    pub fn stolen_from(&self, hold: &Hold) -> Vec<HolderInfo> {
        let mut found = Vec::new();
        for hold in self.granted(hold).then(|| hold.slots()).into_iter().flatten() {
            let slot = hold.slot();
            if slot.is_plainly_held(hold.token) == Some(true) {
                continue;
            }
            let (mut grant, before) = (None, found.len());
            let _ = self.core.with_hold(hold, |entry| {
                found.extend(entry.stolen_from.iter().flatten().cloned());
                grant = entry.upstream_grant;
            });
            if let (Some(grant), Some(upstream)) = (grant, &self.core.upstream) {
                // One of this process may be known to both.
                let ours = found.split_off(before);
                let is_new =
                    |robbed: &HolderInfo| ours.iter().all(|known| known.token != robbed.token);
                found.extend(upstream.stolen_from(slot.key(), grant).into_iter().filter(is_new));
                found.extend(ours);
            }
        }
        found
    }

    /// Downgrades an exclusive hold to a shared one; see
    /// [`LockBackend::share`](crate::LockBackend::share).
    ///
    /// # Errors
    /// `Lost`, and `Unsupported` for a permit and with an [`Upstream`](crate::Upstream).
    pub fn share(&self, hold: &Hold) -> Op<'static, ()> {
        if !self.granted(hold) {
            return Op::failed(foreign(&self.core, hold.token()));
        }
        let shared = hold.slots().iter().try_for_each(|hold| self.core.share(hold));
        Op::Now(shared)
    }

    /// Returns the keys of a hold that was not released.
    pub fn keys(&self, hold: &Hold) -> Vec<String> {
        hold.keys().map(str::to_owned).collect()
    }

    /// Returns the holders and waiters of the keys of `query`; see
    /// [`LockBackend::inspect`](crate::LockBackend::inspect).
    ///
    /// # Errors
    /// `Unsupported` if the backend cannot do that, `Unavailable` or another kind if it does not
    /// answer.
    pub fn inspect(&self, query: Query) -> Op<'static, Vec<LockInfo>> {
        let mut here = self.core.list(&query);
        let Some(upstream) = &self.core.upstream else { return Op::ready(here) };
        let everywhere = upstream.inspect(query);
        Op::later(async move {
            let mut infos = everywhere.await?;
            for local in here.drain(..) {
                match infos.iter_mut().find(|info| info.key == local.key) {
                    // The upstream knows the holders, the engine the waiters of this process.
                    Some(info) => {
                        info.waiters.extend(local.waiters);
                        for nest in local.holders {
                            let held = info.holders.iter_mut().find(|it| it.token == nest.token);
                            held.into_iter().for_each(|it| it.depth = nest.depth);
                        }
                    }
                    None => infos.push(local),
                }
            }
            infos.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(infos)
        })
    }

    /// Revokes the hold or the reservation of `key` with this token; see
    /// [`LockBackend::evict`](crate::LockBackend::evict).
    ///
    /// # Errors
    /// `Unsupported` if the backend cannot do that, `Unavailable` or another kind if it does not
    /// answer.
    pub fn evict(&self, key: &str, token: Token) -> Op<'static, bool> {
        if let Err(error) = check_key(key) {
            return Op::failed(error);
        }
        if !self.core.about.capabilities.evict {
            // Before anything is ended here, since its arbiter would go on taking it to be held.
            let why = "the backend does not declare it";
            return Op::failed(LockError::unsupported(&self.core.about.name, "evict", why));
        }
        let here = self.core.end(key, token, LostCause::Evicted);
        match &self.core.upstream {
            None => Op::ready(here),
            Some(upstream) => {
                let there = upstream.evict(key, token);
                Op::later(async move { Ok(there.await? || here) })
            }
        }
    }
}

#[cold]
fn foreign(core: &Core, token: Token) -> LockError {
    lost_error("", token, LostCause::Forgotten).with_backend(core.about.name.clone())
}
