//! One backend in several processes ([C4](crate::contract#c4-release)): what a child that was
//! forked without `exec` has instead of its parent's.
//!
//! * X1: nothing of the parent's is touched in a child, not even to drop it: a thread that is not
//!   there may have had any mutex locked.
//! * X2: a hold of the process that opened the backend is its engine's. A hold of a child is a
//!   number that only the child knows. By that a child tells its parent's guards from its own.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::fork::{PerProcess, generation};
use crate::sync::plain::Mutex;
use crate::{
    BackendInfo, Engine, ErrorKind, Granted, Hold, HolderInfo, LockBackend, LockError, LockInfo,
    LostCause, Op, Query, Request, Token,
};

/// What one process has of a backend.
pub trait Side: Send + Sync + 'static {
    /// Returns the engine that grants its holds.
    fn engine(&self) -> &Engine;
}

type Reopen<S> = dyn Fn() -> Result<S, LockError> + Send + Sync;

/// A backend of the process that has opened it, and of that one's children, which open it anew when
/// they first ask.
pub struct PerFork<S: Side> {
    about: BackendInfo,
    generation: u64,
    /// `None` only while it is being dropped.
    own: Option<S>,
    reopen: Box<Reopen<S>>,
    forked: PerProcess<Forked<S>>,
}

/// What a child has.
struct Forked<S> {
    side: S,
    holds: Mutex<HashMap<u64, Arc<Hold>>>,
    next: AtomicU64,
}

/// Whose backend it is here.
enum Whose<'a, S> {
    Own(&'a S),
    Forked(&'a Forked<S>),
}

impl<S: Side> PerFork<S> {
    /// Creates the backend of this process. `reopen` makes that of a child, and is called there.
    pub fn new(
        about: BackendInfo,
        own: S,
        reopen: impl Fn() -> Result<S, LockError> + Send + Sync + 'static,
    ) -> Self {
        let (generation, forked) = (generation(), PerProcess::new());
        Self { about, generation, own: Some(own), reopen: Box::new(reopen), forked }
    }

    /// Returns what this process has.
    ///
    /// # Errors
    /// What keeps it from being opened anew, in a child.
    pub fn side(&self) -> Result<&S, LockError> {
        Ok(match self.whose()? {
            Whose::Own(side) => side,
            Whose::Forked(forked) => &forked.side,
        })
    }

    /// Returns what this process has, unless it is a child that has not asked yet.
    pub fn known_side(&self) -> Option<&S> {
        self.own().or_else(|| self.forked.get().map(|forked| &forked.side))
    }

    fn whose(&self) -> Result<Whose<'_, S>, LockError> {
        if let Some(own) = self.own() {
            return Ok(Whose::Own(own));
        }
        self.forked
            .get_or_try_init(|| {
                let first = (generation() << 40) + 1;
                let (holds, next) = (Mutex::new(HashMap::new()), AtomicU64::new(first));
                Ok(Forked { side: (self.reopen)()?, holds, next })
            })
            .map(Whose::Forked)
    }

    /// What the process has that opened it; `None` in its children.
    fn own(&self) -> Option<&S> {
        self.own.as_ref().filter(|_| self.generation == generation())
    }

    /// Calls `see` with the engine of a hold of this process, and with what it is called there;
    /// `None` if it is another's (X2).
    fn with<T>(&self, hold: &Hold, see: impl FnOnce(&Engine, &Hold) -> T) -> Option<T> {
        if let Some(own) = self.own() {
            return Some(see(own.engine(), hold));
        }
        let forked = self.forked.get()?;
        let known = forked.holds.lock().get(&hold.id()?).cloned()?;
        Some(see(forked.side.engine(), &known))
    }

    fn bound<'a, T: 'a>(&self, op: Op<'a, T>) -> Op<'a, T> {
        match op {
            Op::Now(outcome) => Op::Now(outcome),
            Op::Later(op) => {
                let (generation, name) = (generation(), self.about.name.clone());
                Op::later(Bound { op: Some(op), generation, name })
            }
        }
    }
}

impl<S: Side> fmt::Debug for PerFork<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PerFork({})", self.about.name)
    }
}

impl<S: Side> Drop for PerFork<S> {
    fn drop(&mut self) {
        if self.own().is_none() {
            // X1.
            mem::forget(self.own.take());
        }
    }
}

impl<S: Side> Forked<S> {
    fn acquire<'a>(&'a self, request: Request<'a>) -> Op<'a, Granted> {
        match self.side.engine().acquire(request) {
            Op::Now(outcome) => Op::Now(outcome.map(|granted| self.number(granted))),
            Op::Later(op) => Op::later(async move { op.await.map(|granted| self.number(granted)) }),
        }
    }

    fn number(&self, Granted { hold }: Granted) -> Granted {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let numbered = Hold::new(id, hold.token());
        self.holds.lock().insert(id, Arc::new(hold));
        Granted::new(numbered)
    }
}

/// The error of a hold of the parent's, in a child.
fn lost(hold: &Hold) -> LockError {
    let kind = ErrorKind::Lost { cause: LostCause::Forked };
    let keys = hold.keys().collect::<Vec<_>>().join("`, `");
    LockError::new(kind, keys).with_token(hold.token())
}

impl<S: Side> LockBackend for PerFork<S> {
    fn about(&self) -> &BackendInfo {
        &self.about
    }

    fn acquire<'a>(&'a self, request: Request<'a>) -> Op<'a, Granted> {
        match self.whose() {
            Ok(Whose::Own(own)) => self.bound(own.engine().acquire(request)),
            Ok(Whose::Forked(forked)) => self.bound(forked.acquire(request)),
            Err(error) => Op::failed(error),
        }
    }

    fn release(&self, hold: Hold) -> Op<'static, ()> {
        if let Some(own) = self.own() {
            return self.bound(own.engine().release(hold));
        }
        let lost = lost(&hold);
        let forked = self.forked.get();
        let taken = forked.zip(hold.id()).and_then(|(forked, id)| {
            let taken = forked.holds.lock().remove(&id);
            // Its guard is being dropped, so nobody else looks at it.
            Some((forked, taken.and_then(Arc::into_inner)?))
        });
        // X1, if it is a hold of the parent's engine.
        mem::forget(hold);
        match taken {
            Some((forked, hold)) => self.bound(forked.side.engine().release(hold)),
            None => Op::failed(lost),
        }
    }

    fn poll_lost(&self, hold: &Hold, cx: Option<&mut Context<'_>>) -> Poll<LostCause> {
        let polled = self.with(hold, |engine, hold| engine.poll_lost(hold, cx));
        polled.unwrap_or(Poll::Ready(LostCause::Forked))
    }

    fn unwatch(&self, hold: &Hold, waker: &Waker) {
        self.with(hold, |engine, hold| engine.unwatch(hold, waker));
    }

    fn validity(&self, hold: &Hold) -> Option<(Duration, Duration)> {
        self.with(hold, |engine, hold| engine.validity(hold))?
    }

    fn refresh(&self, hold: &Hold) -> Op<'static, ()> {
        let refreshed = self.with(hold, |engine, hold| engine.refresh(hold));
        self.bound(refreshed.unwrap_or_else(|| Op::failed(lost(hold))))
    }

    fn detach_owner(&self, hold: &Hold) {
        self.with(hold, |engine, hold| engine.detach_owner(hold));
    }

    fn mark_done(&self, hold: &Hold) {
        self.with(hold, |engine, hold| engine.mark_done(hold));
    }

    fn stolen_from(&self, hold: &Hold) -> Vec<HolderInfo> {
        self.with(hold, |engine, hold| engine.stolen_from(hold)).unwrap_or_default()
    }

    fn share(&self, hold: &Hold) -> Op<'static, ()> {
        let shared = self.with(hold, |engine, hold| engine.share(hold));
        self.bound(shared.unwrap_or_else(|| Op::failed(lost(hold))))
    }

    fn keys(&self, hold: &Hold) -> Vec<String> {
        // Those of the parent's holds are in the holds themselves.
        let keys = |hold: &Hold| hold.keys().map(str::to_owned).collect();
        let known = hold.id().and_then(|_| self.with(hold, |_, hold| keys(hold)));
        known.unwrap_or_else(|| keys(hold))
    }

    fn inspect(&self, query: Query) -> Op<'static, Vec<LockInfo>> {
        match self.side() {
            Ok(side) => self.bound(side.engine().inspect(query)),
            Err(error) => Op::failed(error),
        }
    }

    fn evict(&self, key: &str, token: Token) -> Op<'static, bool> {
        match self.side() {
            Ok(side) => self.bound(side.engine().evict(key, token)),
            Err(error) => Op::failed(error),
        }
    }

    fn served_by(&self) -> Option<String> {
        self.known_side()?.engine().served_by()
    }
}

/// Returns the error of an operation at `backend` that a child has been asked to go on with,
/// although it is its parent's.
#[cold]
pub fn begun_by_parent(backend: &str) -> LockError {
    let why = "this was begun by the process that this one was forked from: begin it again";
    LockError::unavailable(backend, why).with_message(format!("`{backend}`: {why}"))
}

type Operation<'a, T> = dyn Future<Output = Result<T, LockError>> + Send + 'a;

/// An operation of one process, which a child of it neither goes on with nor withdraws (X1).
struct Bound<'a, T> {
    op: Option<Pin<Box<Operation<'a, T>>>>,
    generation: u64,
    name: String,
}

impl<T> Bound<'_, T> {
    fn is_own(&self) -> bool {
        self.generation == generation()
    }
}

impl<T> Future for Bound<'_, T> {
    type Output = Result<T, LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.is_own() {
            return Poll::Ready(Err(begun_by_parent(&self.name)));
        }
        self.op.as_mut().expect("it is there until it is dropped").as_mut().poll(cx)
    }
}

impl<T> Drop for Bound<'_, T> {
    fn drop(&mut self) {
        if !self.is_own() {
            mem::forget(self.op.take());
        }
    }
}
