//! One backend in several processes (C4): what a child that was forked without `exec` has instead of its
//! parent's engine and files.
//!
//! * X1: nothing of the parent's is touched in a child, not even to drop it: a thread that is not there
//!   may have had any mutex locked.
//! * X2: the engine's holds are of the process that made the backend. Holds of a child have numbers, and
//!   no other process knows them. So a guard of the parent's is told from one of the child's.

use std::collections::HashMap;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use locks_core::fork::{PerProcess, generation};
use locks_core::{BackendInfo, Engine, Granted, Hold, LockBackend, LockError, Op, Request};

use crate::backend::FileBackend;
use crate::directory::Directory;
use crate::fault;
use crate::files::Files;

/// An open backend: of the process that has opened it, and of its children.
pub(crate) struct Opening {
    pub(crate) about: BackendInfo,
    /// As it was found at first.
    pub(crate) directory: Arc<Directory>,
    generation: u64,
    /// `None` only while it is being dropped.
    own: Option<Own>,
    forked: PerProcess<Forked>,
}

/// What the process has that opened it.
pub(crate) struct Own {
    pub(crate) engine: Engine,
    pub(crate) files: Arc<Files>,
}

/// What a child has.
pub(crate) struct Forked {
    pub(crate) backend: FileBackend,
    holds: Mutex<HashMap<u64, Arc<Hold>>>,
    next: AtomicU64,
}

/// Whose backend it is here.
pub(crate) enum Side<'a> {
    Own(&'a Own),
    Forked(&'a Forked),
}

impl Opening {
    pub(crate) fn new(about: BackendInfo, directory: Arc<Directory>, own: Own) -> Self {
        let (generation, forked) = (generation(), PerProcess::new());
        Self { about, directory, generation, own: Some(own), forked }
    }

    /// The side that this process is on; a child opens the directory when it first asks.
    ///
    /// # Errors
    /// What keeps it from being opened.
    pub(crate) fn side(&self) -> Result<Side<'_>, LockError> {
        if let Some(own) = self.own() {
            return Ok(Side::Own(own));
        }
        self.forked
            .get_or_try_init(|| {
                let backend = FileBackend::on(self.directory.reopen()?);
                let first = (generation() << 40) + 1;
                let (holds, next) = (Mutex::default(), AtomicU64::new(first));
                Ok(Forked { backend, holds, next })
            })
            .map(Side::Forked)
    }

    /// What the process has that opened it; `None` in its children.
    pub(crate) fn own(&self) -> Option<&Own> {
        self.own.as_ref().filter(|_| self.generation == generation())
    }

    /// What this process has as a child, if it has asked yet.
    pub(crate) fn known_forked(&self) -> Option<&Forked> {
        self.forked.get()
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if self.own().is_none() {
            // X1.
            mem::forget(self.own.take());
        }
    }
}

impl Forked {
    pub(crate) fn acquire<'a>(&'a self, request: Request<'a>) -> Op<'a, Granted> {
        match self.backend.acquire(request) {
            Op::Now(outcome) => Op::Now(outcome.map(|granted| self.number(granted))),
            Op::Later(op) => Op::later(async move { op.await.map(|granted| self.number(granted)) }),
        }
    }

    fn number(&self, Granted { hold }: Granted) -> Granted {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let numbered = Hold::new(id, hold.token());
        self.holds().insert(id, Arc::new(hold));
        Granted::new(numbered)
    }

    /// What the hold is called by the engine; `None` if it is of another process (X2).
    pub(crate) fn take(&self, hold: Hold) -> Option<Hold> {
        let taken = hold.id().and_then(|id| self.holds().remove(&id));
        // X1, if it is a hold of the parent's engine.
        mem::forget(hold);
        // Its guard is being dropped, so nobody else looks at it.
        taken.and_then(Arc::into_inner)
    }

    /// Calls `see` with what the hold is called by the engine; `None` if it is of another process.
    pub(crate) fn with<T>(&self, hold: &Hold, see: impl FnOnce(&Hold) -> T) -> Option<T> {
        let known = self.holds().get(&hold.id()?).cloned()?;
        Some(see(&known))
    }

    fn holds(&self) -> MutexGuard<'_, HashMap<u64, Arc<Hold>>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Operation<'a, T> = dyn Future<Output = Result<T, LockError>> + Send + 'a;

/// An operation of this process, which a forked child neither goes on with nor withdraws (X1).
struct Bound<'a, T> {
    op: Option<Pin<Box<Operation<'a, T>>>>,
    generation: u64,
    name: String,
}

/// `op`, for this process alone.
pub(crate) fn bound<'a, T: 'a>(op: Op<'a, T>, about: &BackendInfo) -> Op<'a, T> {
    match op {
        Op::Now(outcome) => Op::Now(outcome),
        Op::Later(op) => {
            let (generation, name) = (generation(), about.name.to_string());
            Op::later(Bound { op: Some(op), generation, name })
        }
    }
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
            return Poll::Ready(Err(fault::begun_before_fork(&self.name)));
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
