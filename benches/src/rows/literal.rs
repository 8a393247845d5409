//! A literal key through `#[lock]`, uncontended.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError};

use dashmap::DashMap;
use locks::lock;
use locks_benches::measure::{Contestant, Pace, body, race};
use locks_benches::report::{Bound, Goal, Report};
use parking_lot::Mutex;

#[lock("ledger")]
fn ours() {
    body();
}

fn bare_mutex() {
    static LEDGER: Mutex<()> = Mutex::new(());
    let _held = LEDGER.lock();
    body();
}

/// A bare mutex that notes when it was taken: no less is needed to tell how old a hold is.
fn mutex_with_clock() {
    static LEDGER: Mutex<i64> = Mutex::new(0);
    let mut taken = LEDGER.lock();
    *taken = coarse_nanos();
    body();
}

#[cfg(target_os = "linux")]
fn coarse_nanos() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec to write to, and every Linux has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// There is no coarse clock to be had everywhere.
#[cfg(not(target_os = "linux"))]
fn coarse_nanos() -> i64 {
    static ORIGIN: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    ORIGIN.elapsed().as_nanos() as i64
}

fn std_mutex() {
    static LEDGER: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _held = LEDGER.lock().unwrap_or_else(PoisonError::into_inner);
    body();
}

fn map_of_arcs() {
    type Map = HashMap<&'static str, Arc<Mutex<()>>>;
    static LOCKS: LazyLock<Mutex<Map>> = LazyLock::new(Mutex::default);
    let ledger = Arc::clone(LOCKS.lock().entry("ledger").or_default());
    let _held = ledger.lock();
    body();
}

fn dashmap() {
    static LOCKS: LazyLock<DashMap<&str, Arc<Mutex<()>>>> = LazyLock::new(DashMap::new);
    let ledger = Arc::clone(&LOCKS.entry("ledger").or_default());
    let _held = ledger.lock();
    body();
}

fn key_mutex() {
    static LOCKS: LazyLock<key_mutex::KeyMutex<&str, ()>> = LazyLock::new(key_mutex::KeyMutex::new);
    let _held = LOCKS.lock("ledger").unwrap_or_else(PoisonError::into_inner);
    body();
}

fn keyed_lock() {
    static LOCKS: LazyLock<keyed_lock::sync::KeyedLock<&str>> =
        LazyLock::new(keyed_lock::sync::KeyedLock::new);
    let _held = LOCKS.lock("ledger");
    body();
}

fn lockable() {
    static LOCKS: LazyLock<lockable::LockPool<&str>> = LazyLock::new(lockable::LockPool::new);
    let _held = LOCKS.blocking_lock("ledger");
    body();
}

pub(super) fn run(pace: Pace) -> Vec<Report> {
    let figures = race(
        pace,
        vec![
            Contestant::repeat("parking_lot::Mutex (floor)", bare_mutex),
            Contestant::repeat("#[lock(\"ledger\")]", ours),
            Contestant::repeat("parking_lot::Mutex + coarse clock", mutex_with_clock),
            Contestant::repeat("std::sync::Mutex", std_mutex),
            Contestant::repeat("Mutex<HashMap<_, Arc<Mutex>>>, leaks", map_of_arcs),
            Contestant::repeat("DashMap<_, Arc<Mutex>>, leaks", dashmap),
            Contestant::repeat("key-mutex", key_mutex),
            Contestant::repeat("keyed-lock", keyed_lock),
            Contestant::repeat("lockable", lockable),
        ],
    );
    let goal = Bound::AtMost(1.15);
    vec![Report {
        row: "literal",
        compares: "lock and unlock one literal key on one thread (peers keyed by `&'static str`)"
            .into(),
        unit: "ns per operation",
        figures,
        goals: vec![Goal::ratio("#[lock(\"ledger\")]", "parking_lot::Mutex + coarse clock", goal)],
    }]
}
