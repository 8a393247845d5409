//! Many schedules, chosen at random, of several threads at one engine (run with
//! `RUSTFLAGS="--cfg shuttle"`). A thread that is never woken is a deadlock to the explorer.

#![cfg(shuttle)]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use locks_core::{
    Alarm, Alarms, Backend, Clock, Engine, ErrorKind, LockBuilder, LockError, LostCause, Mode,
    Moment, OwnedGuard, Token,
};
use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Mutex;
use shuttle::thread;

const AGE: Duration = Duration::from_secs(5);
const KEYS: [&str; 3] = ["a", "b", "c"];

/// A clock that the threads of a model advance. Late alarms go off in a thread of the explorer's.
#[derive(Clone)]
struct StepClock {
    nanos: Arc<AtomicU64>,
    alarms: Arc<Alarms>,
    late: Arc<Mutex<Vec<thread::JoinHandle<()>>>>,
}

impl StepClock {
    fn advance(&self, by: Duration) {
        self.nanos.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
        self.alarms.fire(self.now());
    }

    /// Waits until no alarm is going off any more: it keeps the key that it is for.
    fn settle(&self) {
        loop {
            let Some(late) = self.late.lock().unwrap().pop() else { return };
            late.join().unwrap();
        }
    }
}

impl Clock for StepClock {
    fn now(&self) -> Moment {
        Moment::from_nanos(self.nanos.load(Ordering::SeqCst))
    }

    fn wake_at(&self, at: Moment, waker: Waker) -> Alarm {
        let alarm = self.alarms.set(at, waker);
        if at <= self.now() {
            let clock = self.clone();
            let late = thread::spawn(move || clock.alarms.fire(clock.now()));
            self.late.lock().unwrap().push(late);
        }
        alarm
    }

    fn sleep_until(&self, _: Moment) -> Option<Duration> {
        None
    }
}

/// An engine, and what is known of its grants without asking it.
struct Bench {
    engine: Engine,
    backend: Backend,
    clock: StepClock,
    held: [Mutex<Held>; KEYS.len()],
}

/// The guards of a key that are about, lost or not.
#[derive(Default)]
struct Held {
    guards: Vec<(Mode, Arc<OwnedGuard>)>,
    granted: Vec<Token>,
}

impl Bench {
    fn new() -> Arc<Self> {
        let nanos = Arc::new(AtomicU64::new(1_000_000_000));
        let clock = StepClock { nanos, alarms: Alarms::new(), late: Arc::default() };
        let engine = Engine::builder().clock(Arc::new(clock.clone())).build();
        let held = KEYS.map(|_| Mutex::default());
        Arc::new(Self { backend: Backend::new(engine.clone()), engine, clock, held })
    }

    fn lock(&self, key: usize) -> LockBuilder<'static> {
        self.backend.named(KEYS[key])
    }

    /// Enters a grant: of two guards that conflict at least one is lost (C1), and no token comes
    /// twice (C7).
    fn enter(&self, key: usize, mode: Mode, guard: OwnedGuard) -> Arc<OwnedGuard> {
        let guard = Arc::new(guard);
        let mut held = self.held[key].lock().unwrap();
        for (other_mode, other) in &held.guards {
            let conflict = mode == Mode::Exclusive || *other_mode == Mode::Exclusive;
            // In this order: whoever is not lost at the second look was not lost at the first.
            assert!(
                !conflict || guard.is_lost() || other.is_lost(),
                "C1: {guard:?} beside {other:?}"
            );
        }
        assert!(!held.granted.contains(&guard.token()), "C7: {guard:?} came twice");
        held.granted.push(guard.token());
        held.guards.push((mode, guard.clone()));
        guard
    }

    fn leave(&self, keys: &[usize], guard: Arc<OwnedGuard>) -> Result<(), LockError> {
        for key in keys {
            self.held[*key].lock().unwrap().guards.retain(|(_, other)| !Arc::ptr_eq(other, &guard));
        }
        Arc::into_inner(guard).expect("nobody looks at it outside the mutex").release()
    }

    fn visit(&self, key: usize, mode: Mode, lock: LockBuilder<'static>) -> Result<(), LockError> {
        let guard = block_on(lock.acquire_async())?;
        let guard = self.enter(key, mode, guard);
        thread::yield_now();
        self.leave(&[key], guard)
    }

    fn assert_idle(&self) {
        self.clock.settle();
        assert_eq!(self.engine.live_keys(), 0, "C13: {:?}", self.backend.list());
    }
}

fn explore(model: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(model.clone(), 2000);
    shuttle::check_pct(model, 1000, 3);
}

fn with_threads(count: usize, run: impl Fn(&Bench, usize) + Send + Sync + Clone + 'static) {
    explore(move || {
        let bench = Bench::new();
        let threads = (0..count).map(|number| {
            let (bench, run) = (bench.clone(), run.clone());
            thread::spawn(move || run(&bench, number))
        });
        threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
        bench.assert_idle();
    });
}

#[test]
fn c1_c3_every_waiter_is_served_and_none_beside_another() {
    with_threads(4, |bench, number| {
        for round in 0..3 {
            let key = (number + round) % 2;
            bench.visit(key, Mode::Exclusive, bench.lock(key)).unwrap();
        }
    });
}

#[test]
fn c3_readers_writers_and_every_kind_of_fairness() {
    with_threads(4, |bench, _| {
        for _ in 0..3 {
            let mut lock = bench.lock(0);
            let mode = if thread_rng().gen_bool(0.5) { Mode::Shared } else { Mode::Exclusive };
            if mode == Mode::Shared {
                lock = lock.shared();
            }
            match thread_rng().gen_range(0..3) {
                0 => lock = lock.fair(true),
                1 => lock = lock.fair(false),
                _ => bench.clock.advance(Duration::from_micros(300)),
            }
            bench.visit(0, mode, lock).unwrap();
        }
    });
}

#[test]
fn c5_cancelled_waiters_pass_their_turn_on() {
    with_threads(4, |bench, number| {
        for _ in 0..3 {
            if number % 2 == 0 {
                bench.visit(0, Mode::Exclusive, bench.lock(0)).unwrap();
                continue;
            }
            let mut acquire = pin!(bench.lock(0).acquire_async());
            for _ in 0..thread_rng().gen_range(0..3) {
                let mut cx = Context::from_waker(Waker::noop());
                if acquire.as_mut().poll(&mut cx).is_ready() {
                    break;
                }
                thread::yield_now();
            }
        }
    });
}

#[test]
fn c6_c8_c14_thieves_evictions_bounds_and_timeouts() {
    with_threads(4, |bench, _| {
        for _ in 0..3 {
            let key = thread_rng().gen_range(0..2);
            let lock = bench.lock(key);
            let lock = match thread_rng().gen_range(0..6) {
                0 => lock.steal_after(AGE),
                1 => lock.steal_after(AGE).wait(false),
                2 => lock.hold_at_most(AGE),
                3 => lock.wait(AGE),
                4 => {
                    for info in bench.backend.list().unwrap() {
                        for token in info.holders.iter().filter_map(|holder| holder.token) {
                            bench.backend.evict(&info.key, token).block().unwrap();
                        }
                    }
                    lock
                }
                _ => lock,
            };
            let guard = match block_on(lock.acquire_async()) {
                Ok(guard) => bench.enter(key, Mode::Exclusive, guard),
                Err(error) => {
                    assert!(error.is_contended(), "{error}");
                    continue;
                }
            };
            if thread_rng().gen_bool(0.5) {
                bench.clock.advance(AGE);
            }
            thread::yield_now();
            let lost = guard.is_lost();
            let released = bench.leave(&[key], guard);
            assert!(!lost || released.is_err(), "C8: a lost guard is never found again");
            if let Err(error) = released {
                let forgotten = ErrorKind::Lost { cause: LostCause::Forgotten };
                assert!(error.is_lost() && error.kind() != forgotten, "C8: {error}");
            }
        }
        // Whoever waits for this thread's time to pass.
        bench.clock.advance(AGE);
    });
}

#[test]
fn c10_of_a_cycle_exactly_one_is_told() {
    explore(|| {
        let bench = Bench::new();
        let cross = |first: usize, second: usize, owner: u64, bench: Arc<Bench>| {
            thread::spawn(move || {
                let first = block_on(bench.lock(first).owner(owner).acquire_async()).unwrap();
                let second = block_on(bench.lock(second).owner(owner).acquire_async());
                let refused = second.as_ref().err().map(LockError::kind);
                drop((first, second));
                refused
            })
        };
        let threads = [(0, 1, 1), (1, 2, 2), (2, 0, 3)];
        let threads =
            threads.map(|(first, second, owner)| cross(first, second, owner, bench.clone()));
        let refused = threads.map(|thread| thread.join().unwrap());
        let refused = refused.into_iter().flatten().collect::<Vec<_>>();
        assert!(refused.is_empty() || refused == [ErrorKind::Deadlock], "C10: {refused:?}");
        bench.assert_idle();
    });
}

#[test]
fn c11_sets_of_keys_beside_single_ones() {
    with_threads(4, |bench, number| {
        let sets: [&[usize]; 4] = [&[0, 1], &[1, 2], &[0, 1, 2], &[1]];
        for _ in 0..2 {
            let keys = sets[number];
            let lock = bench.backend.all(keys.iter().map(|key| KEYS[*key]));
            let guard = Arc::new(block_on(lock.acquire_async()).unwrap());
            for key in keys {
                let mut held = bench.held[*key].lock().unwrap();
                assert!(held.guards.is_empty(), "C1: {guard:?} beside {:?}", held.guards);
                let last = held.granted.last().copied();
                assert!(last < Some(guard.token()), "C7: {guard:?} after {last:?}");
                held.granted.push(guard.token());
                held.guards.push((Mode::Exclusive, guard.clone()));
            }
            thread::yield_now();
            bench.leave(keys, guard).unwrap();
        }
    });
}

#[test]
fn c13_keys_come_and_go() {
    with_threads(3, |bench, number| {
        for round in 0..4 {
            // The same key now and then, and others that push it out of the table.
            let key = ["x0", "x1", "x2", "x3", "x4", "x5"][(number * round) % 6];
            let lock = bench.backend.named(key).wait(round % 2 == 0);
            match block_on(lock.acquire_async()) {
                Ok(guard) => guard.release().unwrap(),
                Err(error) => assert!(error.is_contended()),
            }
        }
    });
}

#[test]
fn c16_permits_let_in_so_many_and_no_more() {
    with_threads(4, |bench, _| {
        for _ in 0..3 {
            let guard = block_on(bench.lock(0).permits(2).acquire_async()).unwrap();
            let guard = Arc::new(guard);
            let mut held = bench.held[0].lock().unwrap();
            held.guards.push((Mode::Shared, guard.clone()));
            assert!(held.guards.len() <= 2, "C16: {:?}", held.guards);
            drop(held);
            thread::yield_now();
            bench.leave(&[0], guard).unwrap();
        }
    });
}
