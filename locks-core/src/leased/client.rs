use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use super::clock::by;
use super::executor::Executor;
use super::holds::{Holds, LeasedHold, LostLease};
use super::renewal::Renewal;
use super::waiting::{TaskSignal, Waiters, each};
use super::wake_sink::WakeSink;
use crate::engine::WeakEngine;
use crate::{
    Clock, ErrorKind, LeaseRenewal, LeaseStore, LockError, LostCause, Op, Renewed, WaiterOrder,
};

/// The settings of the adapter.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) lease: Duration,
    pub(super) connect: Duration,
    pub(super) poll: Option<Duration>,
    pub(super) label: String,
}

/// This process's side of a store: the holds it was granted, what keeps them, and how they end. A
/// forked child has another ([`PerFork`](crate::forked::PerFork)).
pub(super) struct Client<S> {
    pub(super) store: S,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: Settings,
    pub(super) waiters: Waiters,
    pub(super) executor: Executor,
    pub(super) holds: Holds,
    /// Whether the store gives hints, whether it has to be asked for them, and whether it is.
    pub(super) hints: bool,
    pub(super) asks_for_hints: bool,
    pub(super) listening: AtomicBool,
    /// Raised when the adapter goes.
    pub(super) closed: TaskSignal,
    /// The engine in front, which hears of losses.
    pub(super) engine: OnceLock<WeakEngine>,
}

impl<S: LeaseStore> Client<S> {
    pub(super) fn new(store: S, clock: Arc<dyn Clock>, settings: Settings) -> Arc<Self> {
        Arc::new_cyclic(|client: &Weak<Self>| {
            let pushes = store.subscribe(WakeSink::new(client.clone()));
            let asks_for_hints = !pushes && store.wakes().is_some();
            let waker = Waker::from(Arc::new(DueWaker(client.clone())));
            Self {
                store,
                settings,
                waiters: Waiters::default(),
                executor: Executor::new(),
                holds: Holds::new(clock.clone(), waker),
                clock,
                hints: pushes || asks_for_hints,
                asks_for_hints,
                listening: AtomicBool::new(false),
                closed: TaskSignal::default(),
                engine: OnceLock::new(),
            }
        })
    }

    /// Takes a granted hold into its care. Returns what it is called from now on.
    pub(super) fn take_in(self: &Arc<Self>, hold: LeasedHold) -> u64 {
        self.listen();
        let (id, lost) = self.holds.insert(hold);
        // A waker that panics must not take the hold's name with it, which is renewed until it is
        // ended.
        let _ = catch_unwind(AssertUnwindSafe(|| self.report(lost)));
        id
    }

    /// Renews the hold, its age as well (C6).
    pub(super) fn refresh(self: &Arc<Self>, key: &str, id: u64) -> Op<'static, ()> {
        let (client, key) = (self.clone(), key.to_owned());
        let lost = move |cause| LockError::new(ErrorKind::Lost { cause }, &*key);
        if let Poll::Ready(cause) = self.holds.poll_lost(id) {
            return Op::failed(lost(cause));
        }
        let renewed = async move {
            loop {
                let Some(step) = client.holds.refresh(id) else {
                    return Err(lost(LostCause::Forgotten));
                };
                match client.renew_all(vec![(id, step)], client.settings.connect).await? {
                    Some(Renewed::Kept) => return Ok(()),
                    Some(Renewed::Gone(cause)) => return Err(lost(cause)),
                    Some(Renewed::Unknown) => return Err(client.unknown()),
                    None => {}
                }
            }
        };
        // The renewals of its own go on, and report a loss.
        self.executor.begin(renewed, |_| {})
    }

    /// One step for these holds, and what it means for their validity; to the first one's answer.
    /// `None`: it said that one of the keys was gone, and some have ended here meanwhile.
    async fn renew_all(
        &self,
        renewals: Vec<(u64, LeaseRenewal)>,
        patience: Duration,
    ) -> Result<Option<Renewed>, LockError> {
        let (ids, steps): (Vec<_>, Vec<_>) = renewals.into_iter().unzip();
        let sent = self.clock.now();
        let answer = self.renew(&steps, patience).await.map(|renewed| {
            let answers = renewed.into_iter().zip(&steps).zip(&ids);
            let counts = |((renewed, step), id): ((Renewed, &LeaseRenewal), &u64)| {
                let is_gone = matches!(renewed, Renewed::Gone(_));
                (!is_gone || self.holds.has_all(*id, &step.keys)).then_some(renewed)
            };
            answers.map(counts).collect::<Vec<_>>()
        });
        let note = |(index, id): (usize, &u64)| {
            let renewed = answer.as_ref().map_or(Some(Renewed::Unknown), |all| all[index]);
            self.holds.note(*id, |renewal: &mut Renewal, now| match renewed {
                Some(Renewed::Kept) => renewal.acknowledged(sent, now),
                Some(Renewed::Gone(cause)) => renewal.gone(cause, now),
                Some(Renewed::Unknown) => renewal.failed(now),
                // It is asked again for those that are left.
                None => renewal.hasten(now),
            })
        };
        let lost: Vec<LostLease> = ids.iter().enumerate().filter_map(note).collect();
        self.report(lost);
        Ok(answer?[0])
    }

    /// Has the store renew, and answer for each.
    pub(super) async fn renew(
        &self,
        steps: &[LeaseRenewal],
        patience: Duration,
    ) -> Result<Vec<Renewed>, LockError> {
        let renewed = self.step(patience, || self.store.renew(steps)).await?;
        if renewed.len() != steps.len() {
            let why = format!("it answered {} renewals out of {}", renewed.len(), steps.len());
            return Err(LockError::unavailable(self.name(), why));
        }
        Ok(renewed)
    }

    /// What the store answers to a step within this time. A panic of the store is no answer.
    pub(super) async fn step<'a, T: Unpin + 'a>(
        &'a self,
        patience: Duration,
        begin: impl FnOnce() -> Op<'a, T>,
    ) -> Result<T, LockError> {
        let until = self.clock.now().after(patience);
        let answer = by(&*self.clock, until, self.unbounded_step(begin)).await;
        answer.unwrap_or_else(|| Err(self.silent(patience)))
    }

    /// As [`step`](Self::step), for whatever time it takes.
    pub(super) async fn unbounded_step<'a, T: Unpin + 'a>(
        &'a self,
        begin: impl FnOnce() -> Op<'a, T>,
    ) -> Result<T, LockError> {
        let broken = |panic: Box<dyn Any + Send>| {
            let message = panic.downcast_ref::<String>().map(String::as_str);
            let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
            LockError::unavailable(self.name(), format!("it panicked: {}", message.unwrap_or("?")))
        };
        let mut op = catch_unwind(AssertUnwindSafe(begin)).map_err(broken)?;
        poll_fn(|cx| {
            let poll = || std::future::Future::poll(Pin::new(&mut op), cx);
            catch_unwind(AssertUnwindSafe(poll))
                .unwrap_or_else(|panic| Poll::Ready(Err(broken(panic))))
        })
        .await
    }

    /// Tells the engine of losses, so that guards and waiters hear of them. A waker of theirs that
    /// panics keeps no other from being woken.
    pub(super) fn report(&self, lost: impl IntoIterator<Item = LostLease>) {
        let mut lost = lost.into_iter().peekable();
        if lost.peek().is_none() {
            return;
        }
        let Some(engine) = self.engine.get().and_then(WeakEngine::upgrade) else { return };
        each(lost, |LostLease { id, key, token, cause }| {
            if !engine.lose(&key, token, cause) {
                self.holds.report_again(id);
            }
        });
    }

    pub(super) fn name(&self) -> &str {
        &self.store.about().name
    }

    /// Whether the store has a queue of its own, and calls those whose turn it is.
    pub(super) fn queues(&self) -> bool {
        self.store.about().capabilities.order == WaiterOrder::All
    }

    /// The error of a renewal that the store could not answer for.
    pub(super) fn unknown(&self) -> LockError {
        LockError::unavailable(self.name(), "it does not know what came of a renewal")
    }

    /// The error of a store that did not answer in time.
    pub(super) fn silent(&self, patience: Duration) -> LockError {
        LockError::unavailable(self.name(), format!("no answer within {patience:?}"))
    }
}

/// Woken when something is due with the holds.
struct DueWaker<S>(Weak<Client<S>>);

impl<S: LeaseStore> Wake for DueWaker<S> {
    fn wake(self: Arc<Self>) {
        let Some(client) = self.0.upgrade() else { return };
        let due = client.holds.due();
        if !due.renewals.is_empty() {
            let renewing = client.clone();
            client.executor.spawn(async move {
                // What came of it is noted with the holds.
                let _ = renewing.renew_all(due.renewals, due.patience).await;
            });
        }
        let kept = due.kept.into_iter().map(|ending| (ending, client.settings.lease));
        for (ending, lease) in due.endings.into_iter().chain(kept) {
            client.end_later(ending, lease, Duration::ZERO);
        }
        client.report(due.lost);
    }
}

impl<S: LeaseStore> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("store", &self.name())
            .field("holds", &self.holds.len())
            .field("executor", &self.executor)
            .finish_non_exhaustive()
    }
}
