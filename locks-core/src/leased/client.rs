use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use super::clock::by;
use super::held::Held;
use super::keeper::Keeper;
use super::waiting::Waiters;
use crate::engine::WeakEngine;
use crate::sync::plain::Mutex;
use crate::{Clock, ErrorKind, LeaseStore, LockError, LostCause, Op, Renewed};

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
    pub(super) keeper: Keeper,
    pub(super) holds: Mutex<HashMap<u64, Arc<Held>>>,
    next: AtomicU64,
    /// Whether the store pushes its hints.
    pub(super) pushed: AtomicBool,
    /// Whether the store gives hints when asked, and whether they are being listened for.
    pub(super) hints: bool,
    pub(super) listening: AtomicBool,
    /// The engine in front, which is told of losses.
    pub(super) engine: OnceLock<WeakEngine>,
    /// The process that it was made in; a forked child has its memory, but not its holds.
    process: u32,
}

impl<S: LeaseStore> Client<S> {
    pub(super) fn new(store: S, clock: Arc<dyn Clock>, settings: Settings) -> Arc<Self> {
        let hints = store.wakes().is_some();
        let client = Arc::new(Self {
            hints,
            pushed: AtomicBool::new(false),
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
        });
        if client.store.subscribe(client.sink()) {
            client.pushed.store(true, Ordering::Relaxed);
        }
        client
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
        let conflicts = {
            let mut holds = self.holds.lock();
            let conflicts = holds.values().filter(|other| held.conflicts(other)).cloned();
            let conflicts = conflicts.collect::<Vec<_>>();
            holds.insert(id, held.clone());
            conflicts
        };
        // A thief and its victim, granted one after the other, whose answers may come in any
        // order: no need to wait for the store to say that the earlier one is gone.
        for other in conflicts {
            let (earlier, later) =
                if other.token < held.token { (&other, &held) } else { (&held, &other) };
            earlier.gone(later.takes_by());
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
        if self.is_forked() {
            return Op::failed(self.forked());
        }
        let client = self.clone();
        let renewed = async move {
            match client.renew_once(&held, true, client.settings.reach).await? {
                Renewed::Kept => Ok(()),
                Renewed::Gone(cause) => Err(lost(&held, cause)),
            }
        };
        // The renewals of its own go on, and tell of a loss.
        self.keeper.begin(renewed, |_| {})
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
        let steps = [step];
        let answer = by(&*self.clock, sent.after(patience), self.store.renew(&steps)).await;
        let answer = answer.unwrap_or_else(|| Err(self.silent(patience)));
        let answer = answer.and_then(|renewed| match renewed.as_slice() {
            [renewed] => Ok(*renewed),
            _ => Err(LockError::unavailable(
                &self.store.about().name,
                "a renewal was not answered for each of its holds",
            )),
        });
        match &answer {
            Ok(Renewed::Kept) => held.acknowledged(sent),
            Ok(Renewed::Gone(cause)) => held.gone(*cause),
            Err(_) => held.failed(),
        }
        answer
    }

    pub(super) fn is_forked(&self) -> bool {
        std::process::id() != self.process
    }

    pub(super) fn forked(&self) -> LockError {
        let why = "this process was forked from the one that opened it: open it again";
        LockError::unavailable(&self.store.about().name, why)
    }

    /// The error of a store that did not answer in time.
    pub(super) fn silent(&self, patience: Duration) -> LockError {
        let why = format!("no answer within {patience:?}");
        LockError::unavailable(&self.store.about().name, why)
    }

    /// What the store answers, within the time that it may take.
    pub(super) async fn within_reach<T: Unpin>(&self, step: Op<'_, T>) -> Result<T, LockError> {
        let patience = self.settings.reach;
        let answer = by(&*self.clock, self.clock.now().after(patience), step).await;
        answer.unwrap_or_else(|| Err(self.silent(patience)))
    }

    pub(super) fn held(&self, id: u64) -> Option<Arc<Held>> {
        self.holds.lock().get(&id).cloned()
    }
}

/// Renews a hold until it is over or lost.
async fn renew<S: LeaseStore>(client: Arc<Client<S>>, held: Arc<Held>) {
    while held.due().await {
        // What came of it is noted in `held`.
        let _ = client.renew_once(&held, false, held.patience()).await;
    }
}

pub(super) fn lost(held: &Held, cause: LostCause) -> LockError {
    LockError::new(ErrorKind::Lost { cause }, &*held.keys[0]).with_token(held.token)
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
