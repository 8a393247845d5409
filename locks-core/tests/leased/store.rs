//! A client of a store with leases in memory, with faults to order.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use locks_core::{
    AcquisitionId, BackendInfo, Capabilities, Claimed, Clock, ErrorKind, Exclusion, LeaseClaim,
    LeaseEnding, LeaseEntry, LeaseRenewal, LeaseStore, LockError, Moment, Op, Query, Renewed,
    TokenScope, WaiterOrder, Wake, WakeSink,
};
use parking_lot::Mutex;

use crate::gate::Gate;
use crate::table::{Calls, Row, Table};

/// A client of a store; clones are other clients of the same one.
pub(crate) struct MemoryStore {
    store: Arc<Store>,
    client: usize,
    hints_read: AtomicUsize,
}

impl Clone for MemoryStore {
    fn clone(&self) -> Self {
        let client = self.store.clients.fetch_add(1, Ordering::Relaxed);
        Self { store: self.store.clone(), client, hints_read: AtomicUsize::new(0) }
    }
}

struct Store {
    about: BackendInfo,
    clock: Arc<dyn Clock>,
    table: Mutex<Table>,
    faults: Mutex<Vec<(Step, VecDeque<Fault>)>>,
    /// Of this key it does not know what comes of renewals, and carries none out.
    obscure: Mutex<Option<String>>,
    /// Steps carried out, in order.
    log: Mutex<Vec<(Step, AcquisitionId)>>,
    clients: AtomicUsize,
    /// `None`: it gives no hints.
    hints: Option<Mutex<Hints>>,
}

#[derive(Default)]
struct Hints {
    /// To one client, or to all.
    given: Vec<(Wake, Option<usize>)>,
    listeners: Vec<Waker>,
    sinks: Vec<(usize, WakeSink)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Claim,
    Renew,
    End,
}

/// What goes wrong with a step.
#[derive(Clone)]
pub(crate) enum Fault {
    /// It fails before anything is done.
    Fail,
    /// It is done, and the answer is lost.
    LoseAnswer,
    /// It is done, and answered when the gate opens.
    HoldAnswer(Gate),
    /// It is done when the gate opens.
    HoldStep(Gate),
    /// It fails, and is done by the time that its acquisition is ended.
    Late,
    /// It blocks the thread that polls until the gate opens.
    Block(Gate),
    /// It is done, and then it panics.
    Panic,
    /// It fails with an error of this kind before anything is done.
    Refuse(ErrorKind),
}

impl MemoryStore {
    /// A client of a new store.
    pub(crate) fn new(clock: Arc<dyn Clock>, hints: bool) -> Self {
        let lossy = Exclusion::LeaseUnlessDataIsLost;
        let mut can = Capabilities::plain(lossy, TokenScope::Process);
        (can.shared, can.permits, can.steal, can.several_keys) = (true, true, true, true);
        (can.bounds, can.listing, can.evict, can.ages) = (true, true, true, true);
        // Without hints the first to ask is served, and not the first to wait.
        can.order = if hints { WaiterOrder::All } else { WaiterOrder::WithinProcess };
        let store = Arc::new(Store {
            about: BackendInfo::new("memory-store:", can),
            clock,
            table: Mutex::default(),
            faults: Mutex::default(),
            obscure: Mutex::default(),
            log: Mutex::default(),
            clients: AtomicUsize::new(1),
            hints: hints.then(Mutex::default),
        });
        Self { store, client: 0, hints_read: AtomicUsize::new(0) }
    }

    /// Hints go here from now on, on the thread of the step that gives them.
    pub(crate) fn push_to(&self, sink: WakeSink) -> bool {
        let Some(hints) = &self.store.hints else { return false };
        hints.lock().sinks.push((self.client, sink));
        true
    }

    /// Nothing is granted for so long.
    pub(crate) fn forget_promises(&self, left: Duration) {
        self.store.table.lock().fresh_at = Some(self.store.clock.now().after(left));
    }

    /// How many wait at the store.
    pub(crate) fn places(&self) -> usize {
        self.store.table.lock().places()
    }

    /// The next steps of this kind go wrong like this, one after the other.
    pub(crate) fn fail(&self, step: Step, faults: impl IntoIterator<Item = Fault>) {
        self.store.faults.lock().push((step, faults.into_iter().collect()));
    }

    /// Renewals of this key are not carried out from now on, and those beside them are.
    pub(crate) fn obscure(&self, key: &str) {
        *self.store.obscure.lock() = Some(key.to_owned());
    }

    /// Data loss: everything but the counter is gone.
    pub(crate) fn forget(&self) {
        self.store.table.lock().rows.clear();
    }

    pub(crate) fn faults_left(&self) -> usize {
        self.store.faults.lock().iter().map(|(_, left)| left.len()).sum()
    }

    /// A hint that means nothing.
    pub(crate) fn hint(&self, key: &str) {
        self.store.hint(Wake::Key(key.to_owned()), None);
    }

    /// As a store does that cannot call those who wait.
    pub(crate) fn hint_waiters(&self) {
        self.store.hint(Wake::Waiters, None);
    }

    pub(crate) fn count(&self, step: Step) -> usize {
        self.store.log.lock().iter().filter(|(done, _)| *done == step).count()
    }

    /// The ids that claimed, each once.
    pub(crate) fn claimants(&self) -> Vec<AcquisitionId> {
        let mut ids = Vec::new();
        for (step, id) in &*self.store.log.lock() {
            if *step == Step::Claim && !ids.contains(id) {
                ids.push(*id);
            }
        }
        ids
    }

    pub(crate) fn rows(&self) -> usize {
        let now = self.store.clock.now();
        self.store.table.lock().rows.iter().filter(|row| row.stands(now)).count()
    }

    /// Returns once no hold's renewal is due, or after a while: some are never renewed.
    pub(crate) fn await_renewals(&self) {
        // Where renewals fail there may be none to wait for, only a chance to be given.
        let faulty = self.store.faults.lock().iter().any(|(step, _)| *step == Step::Renew);
        let patience = if faulty { 5 } else { 2000 };
        let give_up = Instant::now() + Duration::from_millis(patience);
        let due = |row: &Row, now: Moment| {
            let is_obscure = self.store.is_obscure(&row.entry.key);
            row.is_held(now) && now.since(row.renewed) >= row.lease / 3 && !is_obscure
        };
        // Looked at once: a clock that moves on with each look would run ahead here.
        let now = self.store.clock.now();
        while Instant::now() < give_up {
            if !self.store.table.lock().rows.iter().any(|row| due(row, now)) {
                return;
            }
            std::thread::yield_now();
        }
    }

    fn next_fault(&self, step: Step) -> Option<Fault> {
        let mut faults = self.store.faults.lock();
        faults.iter_mut().filter(|(of, _)| *of == step).find_map(|(_, next)| next.pop_front())
    }

    fn run<T: Send + 'static>(
        &self,
        step: Step,
        id: AcquisitionId,
        act: impl FnOnce(&Store) -> Result<T, LockError> + Send + 'static,
    ) -> Op<'static, T> {
        let store = self.store.clone();
        let act = move || {
            store.log.lock().push((step, id));
            act(&store)
        };
        let lost = || LockError::unavailable("memory-store:", "as ordered");
        match self.next_fault(step) {
            None => Op::Now(act()),
            Some(Fault::Fail | Fault::Late) => Op::failed(lost()),
            Some(Fault::LoseAnswer) => {
                drop(act());
                Op::failed(lost())
            }
            Some(Fault::Panic) => {
                drop(act());
                panic!("the store panics, as ordered");
            }
            Some(Fault::Refuse(kind)) => Op::failed(LockError::new(kind, "")),
            Some(Fault::Block(gate)) => {
                gate.block();
                Op::Now(act())
            }
            Some(Fault::HoldAnswer(gate)) => {
                let answer = act();
                Op::later(async move {
                    gate.passed().await;
                    answer
                })
            }
            Some(Fault::HoldStep(gate)) => Op::later(async move {
                gate.passed().await;
                act()
            }),
        }
    }
}

impl LeaseStore for MemoryStore {
    fn about(&self) -> &BackendInfo {
        &self.store.about
    }

    fn claim<'a>(&'a self, claim: &'a LeaseClaim) -> Op<'a, Claimed> {
        let (mut asked, client) = (claim.clone(), self.client);
        if self.store.about.capabilities.order != WaiterOrder::All {
            asked.place = None;
        }
        self.run(Step::Claim, claim.id, move |store| {
            let (claimed, called) = store.table.lock().claim(&asked, client, store.clock.now())?;
            store.call(called);
            Ok(claimed)
        })
    }

    fn renew<'a>(&'a self, renewals: &'a [LeaseRenewal]) -> Op<'a, Vec<Renewed>> {
        let asked = renewals.to_vec();
        self.run(Step::Renew, renewals[0].id, move |store| {
            let (mut table, now) = (store.table.lock(), store.clock.now());
            let mut renew = |asked: &LeaseRenewal| match store.is_obscure(&asked.keys[0]) {
                true => Renewed::Unknown,
                false => table.renew(asked, now),
            };
            Ok(asked.iter().map(&mut renew).collect())
        })
    }

    fn end<'a>(&'a self, ending: &'a LeaseEnding) -> Op<'a, bool> {
        let (asked, client) = (ending.clone(), self.client);
        self.run(Step::End, ending.id, move |store| {
            let (ended, called) = store.table.lock().end(&asked, client, store.clock.now());
            store.call(called);
            Ok(ended)
        })
    }

    fn list<'a>(&'a self, query: &'a Query) -> Op<'a, Vec<LeaseEntry>> {
        let mut entries = self.store.table.lock().entries(self.store.clock.now());
        entries.retain(|entry| query.matches(&entry.key));
        Op::ready(entries)
    }

    fn wakes(&self) -> Option<Op<'_, Wake>> {
        let hints = self.store.hints.as_ref()?;
        Some(Op::later(poll_fn(move |cx| {
            let mut hints = hints.lock();
            while let Some((wake, to)) = hints.given.get(self.hints_read.load(Ordering::Relaxed)) {
                self.hints_read.fetch_add(1, Ordering::Relaxed);
                if to.is_none_or(|client| client == self.client) {
                    return Poll::Ready(Ok(wake.clone()));
                }
            }
            hints.listeners.push(cx.waker().clone());
            Poll::Pending
        })))
    }
}

impl Store {
    fn is_obscure(&self, key: &str) -> bool {
        self.obscure.lock().as_deref() == Some(key)
    }

    fn call(&self, calls: Calls) {
        for (key, client) in calls {
            self.hint(Wake::Key(key), Some(client));
        }
    }

    fn hint(&self, wake: Wake, to: Option<usize>) {
        let Some(hints) = &self.hints else { return };
        let mut hints = hints.lock();
        hints.given.push((wake.clone(), to));
        let (listeners, sinks) = (std::mem::take(&mut hints.listeners), hints.sinks.clone());
        drop(hints);
        listeners.into_iter().for_each(Waker::wake);
        let concerned = sinks.iter().filter(|(client, _)| to.is_none_or(|to| to == *client));
        concerned.for_each(|(_, sink)| sink.wake(&wake));
    }
}
