//! An asynchronous lock that nobody else wants.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use dashmap::DashMap;
use locks::lock;
use locks_benches::measure::{Contestant, Pace, body, race};
use locks_benches::report::{Bound, Goal, Report};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tokio::task::unconstrained;

const OURS: &str = "#[lock(\"ledger\")] async fn";
const FLOOR: &str = "tokio::sync::Mutex (floor)";

#[lock("ledger")]
async fn ours() {
    body();
}

#[lock("ledger:{id}")]
async fn ours_formatted(id: u32) {
    body();
}

async fn by_hand() {
    let _held = locks::named("by hand").acquire_async().await.expect("nobody else has it");
    body();
}

async fn bare_mutex() {
    static LEDGER: Mutex<()> = Mutex::const_new(());
    let _held = LEDGER.lock().await;
    body();
}

async fn dashmap() {
    static LOCKS: LazyLock<DashMap<&str, Arc<Mutex<()>>>> = LazyLock::new(DashMap::new);
    let ledger = Arc::clone(&LOCKS.entry("ledger").or_default());
    let _held = ledger.lock().await;
    body();
}

async fn key_mutex() {
    static LOCKS: LazyLock<key_mutex::tokio::KeyMutex<&str, ()>> =
        LazyLock::new(key_mutex::tokio::KeyMutex::new);
    let _held = LOCKS.lock("ledger").await;
    body();
}

async fn keyed_lock() {
    static LOCKS: LazyLock<keyed_lock::r#async::KeyedLock<&str>> =
        LazyLock::new(keyed_lock::r#async::KeyedLock::new);
    let _held = LOCKS.lock("ledger").await;
    body();
}

async fn lockable() {
    static LOCKS: LazyLock<lockable::LockPool<&str>> = LazyLock::new(lockable::LockPool::new);
    let _held = LOCKS.async_lock("ledger").await;
    body();
}

pub(super) fn run(pace: Pace) -> Vec<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime without drivers needs nothing from the system");
    let runtime = &runtime;
    let figures = race(
        pace,
        vec![
            repeat(runtime, FLOOR, bare_mutex),
            repeat(runtime, OURS, ours),
            repeat(runtime, "#[lock(\"ledger:{id}\")] async fn", || ours_formatted(7)),
            repeat(runtime, "locks::named(key).acquire_async()", by_hand),
            repeat(runtime, "DashMap<_, Arc<tokio Mutex>>, leaks", dashmap),
            repeat(runtime, "key-mutex", key_mutex),
            repeat(runtime, "keyed-lock", keyed_lock),
            repeat(runtime, "lockable", lockable),
        ],
    );
    vec![Report {
        row: "async",
        compares: "lock and unlock in one task that is alone (peers keyed by `&'static str`)"
            .into(),
        unit: "ns per operation",
        figures,
        goals: vec![Goal::ratio(OURS, FLOOR, Bound::AtMost(1.25))],
    }]
}

fn repeat<'a>(runtime: &'a Runtime, name: &str, operation: impl AsyncFn() + 'a) -> Contestant<'a> {
    Contestant::timed(name, move |times| {
        // Unconstrained, because tokio's own mutex would otherwise go back to the scheduler
        // every 128 operations and ours would not.
        runtime.block_on(unconstrained(async {
            let start = Instant::now();
            for _ in 0..times {
                operation().await;
            }
            start.elapsed()
        }))
    })
}
