use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;

use super::clock::{by, sleep};
use super::held::Held;
use super::keeper::Keeper;
use super::waiting::{Backoff, Waiters};
use crate::engine::WeakEngine;
use crate::{
    AcquisitionId, Clock, ErrorKind, LeaseEnd, LeaseStore, LockError, LostCause, Op, Renewed, Wake,
};

/// What the adapter was told when it was built.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) lease: Duration,
    pub(super) reach: Duration,
    pub(super) poll: Option<Duration>,
    pub(super) label: String,
}

/// This process's side of a store: the holds it was granted, what keeps them, and how they end.
pub(super) struct Client<S> {
    pub(super) store: S,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: Settings,
    pub(super) waiters: Waiters,
    keeper: Keeper,
    holds: Mutex<HashMap<u64, Arc<Held>>>,
    next: AtomicU64,
    /// Whether the store gives hints, and whether they are being listened for.
    hints: bool,
    listening: AtomicBool,
    /// The engine in front, which is told of losses.
    pub(super) engine: OnceLock<WeakEngine>,
    /// The process that it was made in; a forked child has its memory, but not its holds.
    process: u32,
}

impl<S: LeaseStore> Client<S> {
    pub(super) fn new(store: S, clock: Arc<dyn Clock>, settings: Settings) -> Arc<Self> {
        let hints = store.wakes().is_some();
        Arc::new(Self {
            hints,
            store,
            clock,
            settings,
            waiters: Waiters::default(),
            keeper: Keeper::new(),
            holds: Mutex::default(),
            next: AtomicU64::new(0),
            listening: AtomicBool::new(false),
            engine: OnceLock::new(),
            process: std::process::id(),
        })
    }

    /// Ends the work in the background once what was begun is done.
    pub(super) fn close(&self) {
        for held in self.holds.lock().drain().map(|(_, held)| held) {
            held.end();
        }
        self.keeper.close();
    }

    /// Takes a granted hold into its care, and says what it is called from now on.
    pub(super) fn take_in(self: &Arc<Self>, held: Arc<Held>) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let ousted = {
            let mut holds = self.holds.lock();
            let ousted = holds.values().filter_map(|old| Some((held.ousts(old)?, old.clone())));
            let ousted = ousted.collect::<Vec<_>>();
            holds.insert(id, held.clone());
            ousted
        };
        // The store has granted this one, so those are gone: no need to wait for it to say so.
        for (cause, old) in ousted {
            old.gone(cause);
        }
        held.watch(self.engine.get().cloned());
        self.keeper.spawn(renew(self.clone(), held));
        self.listen();
        id
    }

    /// How the hold was lost, if it is; with a context, its task is woken when it becomes so.
    pub(super) fn poll_lost(&self, id: u64, cx: Option<&mut Context<'_>>) -> Poll<LostCause> {
        match self.held(id) {
            Some(held) => held.poll_lost(cx),
            None => Poll::Ready(LostCause::Forgotten),
        }
    }

    /// Renews the hold, its age as well (C6).
    pub(super) fn refresh(self: &Arc<Self>, id: u64) -> Op<'static, ()> {
        let Some(held) = self.held(id) else {
            return Op::failed(LockError::new(ErrorKind::Lost { cause: LostCause::Forgotten }, ""));
        };
        if let Poll::Ready(cause) = held.poll_lost(None) {
            return Op::failed(lost(&held, cause));
        }
        let client = self.clone();
        self.keeper.begin(async move {
            match client.renew_once(&held, true, client.settings.reach).await? {
                Renewed::Kept => Ok(()),
                Renewed::Gone(cause) => Err(lost(&held, cause)),
            }
        })
    }

    /// Ends a hold that is over here (C4).
    pub(super) fn release(self: &Arc<Self>, id: u64) -> Op<'static, ()> {
        // In a forked child the hold is the parent's.
        if self.is_forked() {
            return Op::ready(());
        }
        let Some(held) = self.holds.lock().remove(&id) else { return Op::ready(()) };
        if let Some(cause) = held.end() {
            if cause == LostCause::Expired {
                // It may still stand at the store. In the background: this may be the thread of
                // all timers, and a store that let a lease expire may be slow to answer.
                let client = self.clone();
                let (key, id, lease) = (held.key.clone(), held.id, held.lease);
                self.keeper.spawn(async move {
                    client.end_surely(&key, id, LeaseEnd::Release, lease).await;
                });
            }
            return Op::failed(lost(&held, cause));
        }
        let ended = self.end(&held.key, held.id, LeaseEnd::Release, held.lease);
        self.hint_later(&held.key);
        match ended {
            Op::Now(ended) => Op::Now(ended.and_then(|was| confirm(&held, was))),
            later => Op::later(async move { later.await.and_then(|was| confirm(&held, was)) }),
        }
    }

    /// Ends an acquisition. Begun on return; tried again in the background, for as long as its
    /// lease could run, if the store cannot be reached.
    pub(super) fn end(
        self: &Arc<Self>,
        key: &str,
        id: AcquisitionId,
        how: LeaseEnd,
        lease: Duration,
    ) -> Op<'static, bool> {
        let (client, key) = (self.clone(), key.to_owned());
        self.keeper.begin(async move {
            let first = client.end_once(&key, id, how).await;
            if let Err(error) = &first
                && !is_refusal(error)
            {
                let again = client.clone();
                client.keeper.spawn(async move { again.end_surely(&key, id, how, lease).await });
            }
            first
        })
    }

    /// Withdraws a claim, whether or not it was answered: a late grant is ended as well (C5).
    pub(super) fn withdraw<F>(
        self: &Arc<Self>,
        key: &str,
        id: AcquisitionId,
        lease: Duration,
        outstanding: Option<F>,
    ) where
        F: Future + Send + Unpin + 'static,
    {
        if self.is_forked() {
            return;
        }
        drop(self.end(key, id, LeaseEnd::Remove, lease));
        if let Some(step) = outstanding {
            let (client, key) = (self.clone(), key.to_owned());
            self.keeper.spawn(async move {
                // The claim may reach the store after the end that followed it.
                let until = client.clock.now().after(lease);
                if by(&*client.clock, until, step).await.is_some() {
                    client.end_surely(&key, id, LeaseEnd::Remove, lease).await;
                    client.waiters.hint(&Wake::Key(key));
                }
            });
        }
    }

    /// One renewal, and what it means for the hold's validity.
    pub(super) async fn renew_once(
        &self,
        held: &Arc<Held>,
        refresh: bool,
        patience: Duration,
    ) -> Result<Renewed, LockError> {
        let step = held.renewal_step(refresh);
        let sent = self.clock.now();
        let answer = by(&*self.clock, sent.after(patience), self.store.renew(&step)).await;
        match &answer {
            Some(Ok(Renewed::Kept)) => held.acknowledged(sent),
            Some(Ok(Renewed::Gone(cause))) => held.gone(*cause),
            Some(Err(_)) | None => held.failed(),
        }
        answer.unwrap_or_else(|| Err(self.silent(patience)))
    }

    /// The hold of this acquisition, if it is one of this process, has been ended by an
    /// administrator.
    pub(super) fn evicted(&self, id: AcquisitionId) {
        let held = self.holds.lock().values().find(|held| held.id == id).cloned();
        if let Some(held) = held {
            held.gone(LostCause::Evicted);
        }
    }

    pub(super) fn gives_hints(&self) -> bool {
        self.hints
    }

    /// Listens for the store's hints as long as there is anything to keep, if it gives any.
    pub(super) fn listen(self: &Arc<Self>) {
        if self.hints && !self.listening.swap(true, Ordering::SeqCst) {
            self.keeper.accompany(listen(Listening(self.clone())));
        }
    }

    /// Waiters of this process for `key`, thieves beside a turn, look again. In the background,
    /// because the engine calls with a mutex held that whoever is woken may want.
    fn hint_later(self: &Arc<Self>, key: &str) {
        if self.waiters.any(key) {
            let (client, key) = (self.clone(), key.to_owned());
            self.keeper.spawn(async move { client.waiters.hint(&Wake::Key(key)) });
        }
    }

    /// How long a waiter goes without looking.
    pub(super) fn longest_pause(&self) -> Duration {
        let hinted = self.hints.then_some(Duration::from_secs(1));
        self.settings.poll.or(hinted).unwrap_or(Duration::from_millis(50))
    }

    pub(super) fn is_forked(&self) -> bool {
        std::process::id() != self.process
    }

    /// The error of a store that did not answer in time.
    pub(super) fn silent(&self, patience: Duration) -> LockError {
        let why = format!("no answer within {patience:?}");
        LockError::unavailable(&self.store.about().name, why)
    }

    fn held(&self, id: u64) -> Option<Arc<Held>> {
        self.holds.lock().get(&id).cloned()
    }

    async fn end_once(
        &self,
        key: &str,
        id: AcquisitionId,
        how: LeaseEnd,
    ) -> Result<bool, LockError> {
        let patience = self.settings.reach;
        let until = self.clock.now().after(patience);
        let answer = by(&*self.clock, until, self.store.end(key, id, how)).await;
        answer.unwrap_or_else(|| Err(self.silent(patience)))
    }

    async fn end_surely(&self, key: &str, id: AcquisitionId, how: LeaseEnd, lease: Duration) {
        let give_up = self.clock.now().after(lease);
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1), id);
        while let Err(error) = self.end_once(key, id, how).await {
            let again = self.clock.now().after(backoff.next());
            if is_refusal(&error) || again >= give_up {
                return;
            }
            sleep(&*self.clock, again).await;
        }
    }
}

/// Renews a hold until it is over or lost.
async fn renew<S: LeaseStore>(client: Arc<Client<S>>, held: Arc<Held>) {
    while held.due().await {
        // What came of it is noted in `held`.
        let _ = client.renew_once(&held, false, held.patience()).await;
    }
}

/// That the store's hints are being listened for.
struct Listening<S: LeaseStore>(Arc<Client<S>>);

impl<S: LeaseStore> Drop for Listening<S> {
    fn drop(&mut self) {
        self.0.listening.store(false, Ordering::SeqCst);
    }
}

/// Passes the store's hints on: to those who wait for a key, and to those who hold it, who may
/// have been robbed.
async fn listen<S: LeaseStore>(listening: Listening<S>) {
    let client = &listening.0;
    let pauses = || {
        let id = AcquisitionId::unique();
        Backoff::new(Duration::from_millis(10), Duration::from_secs(5), id)
    };
    let mut backoff = pauses();
    while let Some(wakes) = client.store.wakes() {
        match wakes.await {
            Ok(wake) => {
                backoff = pauses();
                client.waiters.hint(&wake);
                let holds = client.holds.lock().values().cloned().collect::<Vec<_>>();
                for held in holds.iter().filter(|held| wake.concerns(&held.key)) {
                    held.hasten();
                }
            }
            Err(_) => sleep(&*client.clock, client.clock.now().after(backoff.next())).await,
        }
    }
}

/// Whether the store refused the step, so that there is no use in repeating it.
pub(super) fn is_refusal(error: &LockError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermitsMismatch
            | ErrorKind::InvalidKey
            | ErrorKind::Unsupported
            | ErrorKind::Unauthorized
            | ErrorKind::LimitExceeded
    )
}

/// A hold that was not there any more when it was released had been lost.
fn confirm(held: &Held, was_there: bool) -> Result<(), LockError> {
    if was_there { Ok(()) } else { Err(lost(held, LostCause::Forgotten)) }
}

fn lost(held: &Held, cause: LostCause) -> LockError {
    LockError::new(ErrorKind::Lost { cause }, held.key.clone()).with_token(held.token)
}

impl<S: LeaseStore> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("store", &self.store.about().name)
            .field("holds", &self.holds.lock().len())
            .field("keeper", &self.keeper)
            .finish_non_exhaustive()
    }
}
