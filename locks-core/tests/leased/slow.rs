//! A store that answers from a thread of its own, one to twenty milliseconds later, as behind a
//! network; and pushes its hints from there.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use locks_conformance::{Case, Fixture};
use locks_core::{
    Backend, BackendInfo, BootClock, Claimed, LeaseClaim, LeaseEnding, LeaseEntry, LeaseRenewal,
    LeaseStore, Leased, Op, Query, Renewed, Wake, WakeSink,
};
use parking_lot::Mutex;

use crate::gate::Gate;
use crate::rig::until;
use crate::store::{MemoryStore, Step};

/// A client of a store in memory, behind a network that keeps the order of what it carries.
struct Slow {
    store: Arc<MemoryStore>,
    steps: mpsc::Sender<(Instant, Box<dyn FnOnce() + Send>)>,
    last: Mutex<(Instant, u64)>,
}

impl Slow {
    fn new(store: MemoryStore) -> Self {
        let (steps, sent) = mpsc::channel::<(Instant, Box<dyn FnOnce() + Send>)>();
        thread::spawn(move || {
            for (arrives, step) in sent {
                thread::sleep(arrives.saturating_duration_since(Instant::now()));
                step();
            }
        });
        Self { store: Arc::new(store), steps, last: Mutex::new((Instant::now(), 1)) }
    }

    fn run<T: Send + Unpin + 'static>(
        &self,
        step: impl FnOnce(&MemoryStore) -> Op<'_, T> + Send + 'static,
    ) -> Op<'static, T> {
        let (store, answer, given) =
            (self.store.clone(), Arc::new(Mutex::new(None)), Gate::default());
        let (answers, gives) = (answer.clone(), given.clone());
        let step = move || {
            *answers.lock() = Some(step(&store).block());
            gives.open();
        };
        let mut last = self.last.lock();
        last.1 = last.1 * 48_271 % 0x7FFF_FFFF;
        let arrives = Instant::now() + Duration::from_millis(1 + last.1 % 20);
        last.0 = last.0.max(arrives);
        self.steps.send((last.0, Box::new(step))).expect("the thread lives as long as this");
        drop(last);
        Op::later(async move {
            given.passed().await;
            answer.lock().take().expect("it was given")
        })
    }
}

impl LeaseStore for Slow {
    fn about(&self) -> &BackendInfo {
        self.store.about()
    }

    fn claim<'a>(&'a self, claim: &'a LeaseClaim) -> Op<'a, Claimed> {
        let claim = claim.clone();
        self.run(move |store| Op::Now(store.claim(&claim).block()))
    }

    fn renew<'a>(&'a self, renewals: &'a [LeaseRenewal]) -> Op<'a, Vec<Renewed>> {
        let renewals = renewals.to_vec();
        self.run(move |store| Op::Now(store.renew(&renewals).block()))
    }

    fn end<'a>(&'a self, ending: &'a LeaseEnding) -> Op<'a, bool> {
        let ending = ending.clone();
        self.run(move |store| Op::Now(store.end(&ending).block()))
    }

    fn list<'a>(&'a self, query: &'a Query) -> Op<'a, Vec<LeaseEntry>> {
        let query = query.clone();
        self.run(move |store| Op::Now(store.list(&query).block()))
    }

    fn wakes(&self) -> Option<Op<'_, Wake>> {
        None
    }

    fn subscribe(&self, sink: WakeSink) -> bool {
        self.store.push_to(sink)
    }
}

struct Clients {
    store: MemoryStore,
    ours: Backend,
    theirs: Backend,
}

fn clients() -> Clients {
    let store = MemoryStore::new(Arc::new(BootClock), true);
    let client = || Leased::new(Slow::new(store.clone())).into_backend();
    Clients { ours: client(), theirs: client(), store }
}

impl Fixture for Clients {
    fn backend(&self) -> Backend {
        self.ours.clone()
    }

    /// Twenty milliseconds there, and something for a busy machine.
    fn tick(&self) -> Duration {
        Duration::from_millis(40)
    }

    fn rival(&self) -> Option<Backend> {
        Some(self.theirs.clone())
    }
}

/// The cases in which it matters when an answer comes.
const AREAS: [&str; 3] = ["c2_", "c4_", "c5_"];

#[test]
fn the_kit_over_a_store_that_answers_late() {
    let only = std::env::var("KIT_CASE").unwrap_or_default();
    let picked = |case: &&Case| {
        let name = case.name().trim_start_matches("rival::");
        AREAS.iter().any(|area| name.starts_with(area)) && !case.needs_child()
    };
    let cases: Vec<_> = Case::all().iter().filter(picked).collect();
    let cases = cases.iter().filter(|case| case.name().contains(&only));
    let failed = cases.filter(|case| {
        let run = || case.run(Arc::new(clients()));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
    });
    let failed = failed.map(|case| case.name()).collect::<Vec<_>>();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// A claim to be placed, a claim when it is called, and an end: three steps for each hold.
#[test]
fn a3_a_contended_hand_over_costs_three_steps() {
    const ROUNDS: usize = 20;
    let clients = clients();
    let contend = |backend: Backend| {
        thread::spawn(move || {
            for _ in 0..ROUNDS {
                let guard = backend.named("k").acquire().expect("it waits for ever");
                thread::sleep(Duration::from_millis(30));
                drop(guard);
            }
        })
    };
    let threads = [contend(clients.ours.clone()), contend(clients.theirs.clone())];
    threads.into_iter().for_each(|thread| thread.join().expect("it holds and lets go"));
    until("the last end has arrived", || clients.store.rows() == 0);
    let steps = clients.store.count(Step::Claim) + clients.store.count(Step::End);
    // A busy machine may be called and late now and then.
    assert!(steps <= ROUNDS * 2 * 4, "{steps} steps for {} holds", ROUNDS * 2);
}
