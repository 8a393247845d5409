//! Every schedule of a few threads at one engine, up to a number of preemptions (run with
//! `RUSTFLAGS="--cfg loom"`). `LOOM_MAX_DURATION` is how many seconds a model is explored at most;
//! `./check` says a minute, within which most models come to their end.
//!
//! The explorer knows no time: the engine's clock stands still but where a model advances it.
//! All of a model's threads are one real thread, so no scope is open while another one runs.

#![cfg(loom)]

#[path = "loom/keys.rs"]
mod keys;
#[path = "loom/queue.rs"]
mod queue;
#[path = "loom/steals.rs"]
mod steals;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use locks_core::{
    Acquire, Backend, Engine, ErrorKind, LockBuilder, LockError, ManualClock, OwnedGuard, Token,
};
use loom::cell::UnsafeCell;
use loom::future::block_on;
use loom::thread;

const AGE: Duration = Duration::from_secs(5);

/// An engine, and for each of a few keys a cell that only its holder may touch: the explorer
/// fails a model that touches it without exclusion, or without seeing what the last holder did.
struct Bench {
    engine: Engine,
    backend: Backend,
    clock: ManualClock,
    cells: [UnsafeCell<Token>; 2],
}

// SAFETY: the explorer watches over the cells.
unsafe impl Sync for Bench {}
// SAFETY: as above.
unsafe impl Send for Bench {}

impl Bench {
    fn new() -> Arc<Self> {
        let clock = ManualClock::new();
        let engine = Engine::builder().clock(Arc::new(clock.clone())).build();
        let cells = [0; 2].map(|none| UnsafeCell::new(Token::new(none)));
        Arc::new(Self { backend: Backend::new(engine.clone()), engine, clock, cells })
    }

    fn named<'k>(&self, key: &'k str) -> LockBuilder<'k> {
        self.backend.named(key)
    }

    /// Writes as the holder of the key with this cell: tokens only grow (C7).
    fn write(&self, cell: usize, guard: &OwnedGuard) {
        self.cells[cell].with_mut(|last| {
            // SAFETY: the explorer fails the model if this is not exclusive.
            let last = unsafe { &mut *last };
            assert!(guard.token() > *last, "C7: {} after {last}", guard.token());
            *last = guard.token();
        });
    }

    /// Reads as one of the shared holders of the key with this cell.
    fn read(&self, cell: usize) {
        self.cells[cell].with(|_| {});
    }

    /// Acquires the key, writes, releases.
    fn visit(&self, cell: usize, lock: LockBuilder<'_>) {
        let guard = block_on(lock.acquire_async()).unwrap();
        self.write(cell, &guard);
        guard.release().unwrap();
    }

    /// Nothing is left behind (C13).
    fn assert_idle(&self) {
        assert_eq!(self.engine.live_keys(), 0);
        assert_eq!(self.engine.known_keys(), 0);
    }
}

/// Runs every schedule of `model` with up to `preemptions` of them, or as many more as
/// `LOCKS_LOOM_DEEPER` says: one more takes minutes where there are three threads.
fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let deeper = std::env::var("LOCKS_LOOM_DEEPER").map_or(0, |more| more.parse().unwrap());
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions + deeper);
    builder.max_branches = 10_000;
    builder.check(model);
}

fn spawn(bench: &Arc<Bench>, run: impl FnOnce(&Bench) + 'static) -> thread::JoinHandle<()> {
    let bench = bench.clone();
    thread::spawn(move || run(&bench))
}

/// Polls an acquisition once and drops it, whatever came of it.
fn begin_and_cancel(lock: LockBuilder<'_>) {
    let mut acquire = pin!(lock.acquire_async());
    let _ = acquire.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

/// A plain hold with a waiter that is to be handed the key at its release (C3), polled once.
fn about_to_be_handed_on(bench: &Arc<Bench>) -> (OwnedGuard, Pin<Box<Acquire<'static>>>) {
    let held = block_on(bench.named("k").acquire_async()).unwrap();
    let mut first = Box::pin(bench.backend.named("k").acquire_async());
    assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    bench.clock.advance(Duration::from_millis(1));
    bench.write(0, &held);
    (held, first)
}

#[test]
fn c11_two_threads_with_the_same_keys() {
    explore(2, || {
        let bench = Bench::new();
        let visit = |bench: &Bench| {
            let guard = block_on(bench.backend.all(["a", "b"]).acquire_async()).unwrap();
            bench.write(0, &guard);
            bench.write(1, &guard);
            guard.release().unwrap();
        };
        let other = spawn(&bench, visit);
        visit(&bench);
        other.join().unwrap();
        bench.assert_idle();
    });
}

#[test]
fn c10_of_a_cycle_exactly_one_is_told() {
    explore(2, || {
        let bench = Bench::new();
        let cross = |first: &'static str, second: &'static str, owner: u64| {
            move |bench: &Bench| {
                let first = block_on(bench.named(first).owner(owner).acquire_async()).unwrap();
                let second = block_on(bench.named(second).owner(owner).acquire_async());
                let refused = second.as_ref().err().map(LockError::kind);
                drop((first, second));
                refused
            }
        };
        let told = Arc::new(AtomicUsize::new(0));
        let other = spawn(&bench, {
            let (run, told) = (cross("b", "a", 2), told.clone());
            move |bench| note(run(bench), &told)
        });
        note(cross("a", "b", 1)(&bench), &told);
        other.join().unwrap();
        assert!(told.load(Ordering::Relaxed) <= 1, "C10: both are told");
        bench.assert_idle();
    });
}

fn note(refused: Option<ErrorKind>, told: &AtomicUsize) {
    if let Some(kind) = refused {
        assert_eq!(kind, ErrorKind::Deadlock);
        told.fetch_add(1, Ordering::Relaxed);
    }
}
