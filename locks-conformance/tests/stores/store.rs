//! The store and its clients: steps that are carried out at once, or by a thread that takes its
//! time.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use locks_conformance::StoreFixture;
use locks_core::{
    BackendInfo, Capabilities, Claimed, Clock, Exclusion, LeaseClaim, LeaseEnding, LeaseEntry,
    LeaseRenewal, LeaseStore, LockError, ManualClock, Moment, Op, Query, Renewed, TokenScope,
    WaiterOrder, Wake,
};

use crate::flaw::Flaw;
use crate::table::Table;

/// A store, and two clients of it: itself the fixture, with a clock that is set by hand.
#[derive(Clone)]
pub(crate) struct Shared {
    state: Arc<Mutex<State>>,
    ours: Arc<Client>,
    theirs: Arc<Client>,
    pub(crate) clock: ManualClock,
    patience: Duration,
}

#[derive(Default)]
struct State {
    table: Table,
    hints: Vec<Wake>,
    listeners: Vec<Waker>,
}

/// A client of the store.
pub(crate) struct Client {
    about: BackendInfo,
    number: u32,
    state: Arc<Mutex<State>>,
    clock: ManualClock,
    /// How many of the hints it has had.
    heard: Mutex<usize>,
    /// Where its steps go, one after the other, if they take their time.
    steps: Option<Mutex<Sender<Step>>>,
    /// How many of them are to be answered yet.
    under_way: Arc<AtomicUsize>,
}

type Step = Box<dyn FnOnce() + Send>;

impl Shared {
    pub(crate) fn sound() -> Self {
        Self::new(None, WaiterOrder::All, false)
    }

    pub(crate) fn with(flaw: Flaw) -> Self {
        let patience = Duration::from_millis(400);
        Self { patience, ..Self::new(Some(flaw), WaiterOrder::All, false) }
    }

    pub(crate) fn new(flaw: Option<Flaw>, order: WaiterOrder, slow: bool) -> Self {
        let mut can = Capabilities::plain(Exclusion::Lease, TokenScope::Durable);
        (can.shared, can.permits, can.steal, can.bounds) = (true, true, true, true);
        (can.listing, can.ages, can.evict, can.several_keys) = (true, true, true, true);
        can.order = order;
        let table = Table { flaw, ..Table::default() };
        let state = Arc::new(Mutex::new(State { table, ..State::default() }));
        let clock = ManualClock::new();
        let client = |number| {
            Arc::new(Client {
                about: BackendInfo::new("store:", can),
                number,
                state: state.clone(),
                clock: clock.clone(),
                heard: Mutex::default(),
                steps: slow.then(|| Mutex::new(take_time(number))),
                under_way: Arc::default(),
            })
        };
        let (ours, theirs) = (client(0), client(1));
        Self { state, ours, theirs, clock, patience: Duration::from_secs(10) }
    }

    pub(crate) fn clients(&self) -> [Arc<Client>; 2] {
        [self.ours.clone(), self.theirs.clone()]
    }

    /// Whether somebody waits for an answer, or a hold should have been renewed by now: the clock,
    /// which is set by hand, waits for neither by itself.
    pub(crate) fn is_behind(&self) -> bool {
        let mut clients = [&self.ours, &self.theirs].into_iter();
        clients.any(|client| client.under_way.load(Ordering::SeqCst) > 0) || self.is_overdue()
    }

    fn is_overdue(&self) -> bool {
        let now = since_start(&self.clock);
        lock(&self.state).table.rows.iter().any(|row| row.is_overdue(now))
    }
}

fn since_start(clock: &ManualClock) -> Duration {
    clock.now().since(Moment::from_nanos(0))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A client whose case has failed has to get through.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that carries out steps, each after 1 to 20 ms, in their order, as a connection does.
fn take_time(number: u32) -> Sender<Step> {
    let (sender, steps) = channel::<Step>();
    let mut state = number.wrapping_mul(2_654_435_761).wrapping_add(1);
    let work = move || {
        for step in steps {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Most of them quickly, or the kit would take minutes.
            let millis =
                if state >> 29 == 0 { 1 + (state >> 8) % 20 } else { 1 + (state >> 8) % 3 };
            thread::sleep(Duration::from_millis(millis.into()));
            step();
        }
    };
    thread::Builder::new().name("a slow store".to_owned()).spawn(work).expect("a thread to spare");
    sender
}

struct Answer<T> {
    value: Option<Result<T, LockError>>,
    waker: Option<Waker>,
}

impl Client {
    /// Has the step carried out, and hints at these keys when it has been.
    fn step<T: Send + 'static>(
        &self,
        hints: Vec<String>,
        act: impl FnOnce(&mut Table) -> Result<T, LockError> + Send + 'static,
    ) -> Op<'static, T> {
        let (state, clock) = (self.state.clone(), self.clock.clone());
        let act = move || {
            let (value, listeners) = {
                let mut state = lock(&state);
                state.table.now = since_start(&clock);
                let value = act(&mut state.table);
                let hinted = !hints.is_empty();
                state.hints.extend(hints.into_iter().map(Wake::Key));
                let listeners = if hinted { std::mem::take(&mut state.listeners) } else { vec![] };
                (value, listeners)
            };
            listeners.into_iter().for_each(Waker::wake);
            value
        };
        let Some(steps) = &self.steps else { return Op::Now(act()) };
        let answer = Arc::new(Mutex::new(Answer { value: None, waker: None }));
        let (answered, under_way) = (answer.clone(), self.under_way.clone());
        under_way.fetch_add(1, Ordering::SeqCst);
        let step: Step = Box::new(move || {
            let value = act();
            let waker = {
                let mut answer = lock(&answered);
                answer.value = Some(value);
                answer.waker.take()
            };
            // A user's waker that panics costs this step no more than its thread, which others
            // need.
            let wake = || waker.into_iter().for_each(Waker::wake);
            let _: std::thread::Result<()> = catch_unwind(AssertUnwindSafe(wake));
            under_way.fetch_sub(1, Ordering::SeqCst);
        });
        lock(steps).send(step).expect("the thread lives as long as its client");
        Op::later(poll_fn(move |cx| {
            let mut answer = lock(&answer);
            match answer.value.take() {
                Some(value) => Poll::Ready(value),
                None => {
                    answer.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        }))
    }

    /// Looks, lets others look as well, and then writes.
    fn look_then_write(&self, claim: &LeaseClaim) -> Op<'static, Claimed> {
        let looked = lock(&self.state).table.look(self.number, claim);
        thread::sleep(Duration::from_millis(1));
        match looked {
            Ok(Claimed::Granted(_)) => {
                let mut state = lock(&self.state);
                Op::ready(Claimed::Granted(state.table.write(self.number, claim, &claim.keys)))
            }
            other => Op::Now(other),
        }
    }
}

impl LeaseStore for Client {
    fn about(&self) -> &BackendInfo {
        &self.about
    }

    fn claim<'a>(&'a self, claim: &'a LeaseClaim) -> Op<'a, Claimed> {
        if lock(&self.state).table.has(Flaw::LooksThenWrites) {
            return self.look_then_write(claim);
        }
        let (number, mut asked) = (self.number, claim.clone());
        if self.about.capabilities.order != WaiterOrder::All {
            asked.place = None;
        }
        // The robbed may be listening.
        let hints = if claim.steal_after.is_some() { claim.keys.clone() } else { Vec::new() };
        self.step(hints, move |table| table.claim(number, &asked))
    }

    fn renew<'a>(&'a self, renewals: &'a [LeaseRenewal]) -> Op<'a, Vec<Renewed>> {
        let (number, asked) = (self.number, renewals.to_vec());
        self.step(Vec::new(), move |table| Ok(table.renew(number, &asked)))
    }

    fn end<'a>(&'a self, ending: &'a LeaseEnding) -> Op<'a, bool> {
        let (number, asked) = (self.number, ending.clone());
        self.step(ending.keys.clone(), move |table| Ok(table.end(number, &asked)))
    }

    fn list<'a>(&'a self, query: &'a Query) -> Op<'a, Vec<LeaseEntry>> {
        let query = query.clone();
        self.step(Vec::new(), move |table| Ok(table.list(&query)))
    }

    fn wakes(&self) -> Option<Op<'_, Wake>> {
        Some(Op::later(poll_fn(move |cx| {
            let mut state = lock(&self.state);
            let mut heard = lock(&self.heard);
            if let Some(wake) = state.hints.get(*heard).cloned() {
                *heard += 1;
                return Poll::Ready(Ok(wake));
            }
            state.listeners.push(cx.waker().clone());
            Poll::Pending
        })))
    }
}

impl StoreFixture for Shared {
    fn store(&self) -> Arc<dyn LeaseStore> {
        self.ours.clone()
    }

    fn rival(&self) -> Arc<dyn LeaseStore> {
        self.theirs.clone()
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn now(&self) -> Duration {
        since_start(&self.clock)
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn restart(&self) -> Option<Arc<dyn LeaseStore>> {
        let table = &mut lock(&self.state).table;
        if table.has(Flaw::TokensForgottenByRestart) {
            table.token = 0;
        }
        Some(self.theirs.clone())
    }
}
