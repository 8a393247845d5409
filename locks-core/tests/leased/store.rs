//! A store with leases in memory, with faults to order.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use locks_core::{
    About, AcquisitionId, Capabilities, Claimed, Clock, EntryState, ErrorKind, Exclusion,
    LeaseClaim, LeaseEnd, LeaseEnding, LeaseEntry, LeaseRenewal, LeaseStore, LockError, LostCause,
    Mode, Moment, Op, Query, Refusal, Renewed, Token, TokenScope, Wake,
};
use parking_lot::Mutex;

use crate::gate::Gate;

/// A client of a store; clones are other clients of the same one.
pub(crate) struct MemoryStore(Arc<Store>, AtomicUsize);

impl Clone for MemoryStore {
    fn clone(&self) -> Self {
        Self(self.0.clone(), AtomicUsize::new(0))
    }
}

struct Store {
    about: About,
    clock: Arc<dyn Clock>,
    table: Mutex<Table>,
    faults: Mutex<Vec<(Step, VecDeque<Fault>)>>,
    /// Steps carried out, in order.
    log: Mutex<Vec<(Step, AcquisitionId)>>,
    /// `None`: it gives no hints.
    hints: Option<Mutex<Hints>>,
}

#[derive(Default)]
struct Table {
    rows: Vec<Row>,
    token: u64,
    robbed: Vec<AcquisitionId>,
}

#[derive(Default)]
struct Hints {
    given: Vec<Wake>,
    listeners: Vec<Waker>,
}

struct Row {
    entry: LeaseEntry,
    since: Moment,
    /// Since it was claimed or renewed last.
    renewed: Moment,
    lease_ends: Moment,
    reserved_until: Moment,
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
    /// It blocks the thread that polls until the gate opens.
    Block(Gate),
}

impl MemoryStore {
    /// A client of a new store.
    pub(crate) fn new(clock: Arc<dyn Clock>, hints: bool) -> Self {
        let lossy = Exclusion::LeaseUnlessDataIsLost;
        let mut can = Capabilities::plain(lossy, TokenScope::Process);
        (can.shared, can.permits, can.steal) = (true, true, true);
        (can.bounds, can.listing, can.evict, can.ages) = (true, true, true, true);
        let store = Arc::new(Store {
            about: About::new("memory-store:", can),
            clock,
            table: Mutex::default(),
            faults: Mutex::default(),
            log: Mutex::default(),
            hints: hints.then(Mutex::default),
        });
        Self(store, AtomicUsize::new(0))
    }

    /// The next steps of this kind go wrong like this, one after the other.
    pub(crate) fn fail(&self, step: Step, faults: impl IntoIterator<Item = Fault>) {
        self.0.faults.lock().push((step, faults.into_iter().collect()));
    }

    /// Data loss: everything but the counter is gone.
    pub(crate) fn forget(&self) {
        self.0.table.lock().rows.clear();
    }

    pub(crate) fn faults_left(&self) -> usize {
        self.0.faults.lock().iter().map(|(_, left)| left.len()).sum()
    }

    /// A hint that means nothing.
    pub(crate) fn hint(&self, key: &str) {
        self.0.hint(key.to_owned());
    }

    pub(crate) fn count(&self, step: Step) -> usize {
        self.0.log.lock().iter().filter(|(done, _)| *done == step).count()
    }

    /// The ids that claimed, each once.
    pub(crate) fn claimants(&self) -> Vec<AcquisitionId> {
        let mut ids = Vec::new();
        for (step, id) in &*self.0.log.lock() {
            if *step == Step::Claim && !ids.contains(id) {
                ids.push(*id);
            }
        }
        ids
    }

    pub(crate) fn rows(&self) -> usize {
        let now = self.0.clock.now();
        self.0.table.lock().rows.iter().filter(|row| row.stands(now)).count()
    }

    /// Returns once no hold's renewal is due, or after a while: some are never renewed.
    pub(crate) fn await_renewals(&self) {
        // Where renewals fail there may be none to wait for, only a chance to be given.
        let faulty = self.0.faults.lock().iter().any(|(step, _)| *step == Step::Renew);
        let patience = if faulty { 5 } else { 2000 };
        let give_up = Instant::now() + Duration::from_millis(patience);
        let due = |row: &Row, now: Moment| {
            row.is_held(now) && now.since(row.renewed) >= row.lease_ends.since(row.renewed) / 3
        };
        while Instant::now() < give_up {
            let now = self.0.clock.now();
            if !self.0.table.lock().rows.iter().any(|row| due(row, now)) {
                return;
            }
            std::thread::yield_now();
        }
    }

    fn next_fault(&self, step: Step) -> Option<Fault> {
        let mut faults = self.0.faults.lock();
        faults.iter_mut().filter(|(of, _)| *of == step).find_map(|(_, next)| next.pop_front())
    }

    fn run<T: Send + 'static>(
        &self,
        step: Step,
        id: AcquisitionId,
        act: impl FnOnce(&Store) -> Result<T, LockError> + Send + 'static,
    ) -> Op<'static, T> {
        let store = self.0.clone();
        let act = move || {
            store.log.lock().push((step, id));
            act(&store)
        };
        let lost = || LockError::unavailable("memory-store:", "as ordered");
        match self.next_fault(step) {
            None => Op::Now(act()),
            Some(Fault::Fail) => Op::failed(lost()),
            Some(Fault::LoseAnswer) => {
                drop(act());
                Op::failed(lost())
            }
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
    fn about(&self) -> &About {
        &self.0.about
    }

    fn claim<'a>(&'a self, claim: &'a LeaseClaim) -> Op<'a, Claimed> {
        let asked = claim.clone();
        self.run(Step::Claim, claim.id, move |store| store.claim(&asked))
    }

    fn renew<'a>(&'a self, renewals: &'a [LeaseRenewal]) -> Op<'a, Vec<Renewed>> {
        let asked = renewals.to_vec();
        self.run(Step::Renew, renewals[0].id, move |store| {
            Ok(asked.iter().map(|asked| store.renew(asked)).collect())
        })
    }

    fn end<'a>(&'a self, ending: &'a LeaseEnding) -> Op<'a, bool> {
        let LeaseEnding { id, how, ref keys, .. } = *ending;
        let key = keys[0].clone();
        self.run(Step::End, id, move |store| {
            let now = store.clock.now();
            let mut table = store.table.lock();
            let index = table.rows.iter().position(|row| row.entry.id == id && row.stands(now));
            let Some(index) = index else { return Ok(false) };
            let held = table.rows[index].is_held(now);
            match how {
                LeaseEnd::Release { reserve: true } => table.rows[index].lease_ends = now,
                _ => drop(table.rows.remove(index)),
            }
            drop(table);
            store.hint(key);
            Ok(held || how == LeaseEnd::Remove)
        })
    }

    fn list<'a>(&'a self, query: &'a Query) -> Op<'a, Vec<LeaseEntry>> {
        let now = self.0.clock.now();
        let table = self.0.table.lock();
        let rows = table.rows.iter().filter(|row| row.stands(now) && query.matches(&row.entry.key));
        Op::ready(rows.map(|row| row.shown(now)).collect())
    }

    fn wakes(&self) -> Option<Op<'_, Wake>> {
        let hints = self.0.hints.as_ref()?;
        Some(Op::later(poll_fn(move |cx| {
            let mut hints = hints.lock();
            if let Some(wake) = hints.given.get(self.1.load(Ordering::Relaxed)).cloned() {
                self.1.fetch_add(1, Ordering::Relaxed);
                return Poll::Ready(Ok(wake));
            }
            hints.listeners.push(cx.waker().clone());
            Poll::Pending
        })))
    }
}

impl Store {
    fn renew(&self, asked: &LeaseRenewal) -> Renewed {
        let now = self.clock.now();
        let mut table = self.table.lock();
        let row = table.rows.iter_mut().find(|row| row.entry.id == asked.id);
        let Some(row) = row.filter(|row| row.is_held(now)) else {
            let robbed = table.robbed.contains(&asked.id);
            return Renewed::Gone(if robbed { LostCause::Stolen } else { LostCause::Forgotten });
        };
        (row.renewed, row.lease_ends) = (now, now.after(asked.lease));
        if asked.refresh {
            row.since = now;
        }
        Renewed::Kept
    }

    fn claim(&self, asked: &LeaseClaim) -> Result<Claimed, LockError> {
        let now = self.clock.now();
        let mut table = self.table.lock();
        table.rows.retain(|row| row.stands(now));
        if let Some(row) = table.rows.iter().find(|row| row.entry.id == asked.id) {
            return Ok(Claimed::Granted(row.entry.token));
        }
        let rivals = || table.rows.iter().filter(|row| row.entry.key == asked.keys[0]);
        if rivals().any(|row| is_permit(row.entry.mode) != is_permit(asked.mode)) {
            return Err(LockError::new(ErrorKind::PermitsMismatch, &*asked.keys[0]));
        }
        let mut in_the_way = rivals().filter(|row| row.bars(asked.mode, now)).collect::<Vec<_>>();
        in_the_way.sort_by_key(|row| row.since);
        let excess = match asked.mode {
            Mode::Permit { of } => (in_the_way.len() + 1).saturating_sub(of as usize),
            Mode::Exclusive | Mode::Shared => in_the_way.len(),
        };
        let stealable = |row: &&&Row| {
            let due = asked.steal_after.is_some_and(|after| now.since(row.since) >= after);
            due && row.is_held(now) && row.reserved_until <= now
        };
        let victims = in_the_way.iter().filter(stealable).take(excess);
        let victims = victims.map(|row| row.entry.id).collect::<Vec<_>>();
        if victims.len() < excess {
            let in_the_way = in_the_way.iter().map(|row| row.shown(now)).collect();
            return Ok(Claimed::Refused(Refusal::new(in_the_way)));
        }
        table.rows.retain(|row| !victims.contains(&row.entry.id));
        table.robbed.extend(&victims);
        table.token += 1;
        let token = Token::new(table.token);
        let mut entry = LeaseEntry::new(&*asked.keys[0], asked.id, token, Duration::ZERO);
        entry.mode = asked.mode;
        entry.note = asked.note.clone();
        let reserved_until = asked.hold_at_least.map_or(now, |least| now.after(least));
        let lease_ends = now.after(asked.lease);
        table.rows.push(Row { entry, since: now, renewed: now, lease_ends, reserved_until });
        drop(table);
        if !victims.is_empty() {
            self.hint(asked.keys[0].clone());
        }
        Ok(Claimed::Granted(token))
    }

    fn hint(&self, key: String) {
        let Some(hints) = &self.hints else { return };
        let mut hints = hints.lock();
        hints.given.push(Wake::Key(key));
        let listeners = std::mem::take(&mut hints.listeners);
        drop(hints);
        listeners.into_iter().for_each(Waker::wake);
    }
}

impl Row {
    fn is_held(&self, now: Moment) -> bool {
        self.lease_ends > now
    }

    fn stands(&self, now: Moment) -> bool {
        self.lease_ends.max(self.reserved_until) > now
    }

    fn bars(&self, mode: Mode, now: Moment) -> bool {
        let exclusive = mode == Mode::Exclusive || self.entry.mode == Mode::Exclusive;
        exclusive || matches!(mode, Mode::Permit { .. }) || !self.is_held(now)
    }

    fn shown(&self, now: Moment) -> LeaseEntry {
        let mut entry = self.entry.clone();
        let held = self.is_held(now);
        entry.state = if held { EntryState::Held } else { EntryState::Reserved };
        let ends = if held { self.lease_ends } else { self.reserved_until };
        entry.ends_in = ends.since(now);
        entry.age = Some(now.since(self.since));
        entry
    }
}

fn is_permit(mode: Mode) -> bool {
    matches!(mode, Mode::Permit { .. })
}
