//! A thousand tasks on two worker threads, on one key or on a key each.

use std::future::Future;
use std::sync::LazyLock;
use std::time::Instant;

use locks::lock;
use locks_benches::measure::{Contestant, Pace, body, race};
use locks_benches::peers::{DashMapOfTokio, KeyMutexAsync, KeyedLockAsync, Lockable, NamedAsync};
use locks_benches::report::{Bound, Goal, Report};
use tokio::runtime::Runtime;
use tokio::task::{JoinSet, yield_now};

const TASKS: usize = 1_000;
const PEER: &str = "DashMap<_, Arc<tokio Mutex>>, leaks";

#[lock("feed")]
async fn feed() {
    body();
}

#[lock("slow feed")]
async fn slow_feed() {
    yield_now().await;
}

#[lock("crowd", steal_after = "1m")]
async fn thieves() {
    yield_now().await;
}

#[lock("crowd")]
async fn crowd() {
    yield_now().await;
}

#[lock("user:{id}")]
async fn user(id: usize) {
    body();
}

/// The same with a peer: `key`, held for nothing or across a yield.
async fn with(locks: &'static impl NamedAsync, key: String, slow: bool) {
    let _held = locks.lock(key).await;
    if slow {
        yield_now().await;
    } else {
        body();
    }
}

fn dashmap() -> &'static DashMapOfTokio {
    static LOCKS: LazyLock<DashMapOfTokio> = LazyLock::new(Default::default);
    &LOCKS
}

fn key_mutex() -> &'static KeyMutexAsync {
    static LOCKS: LazyLock<KeyMutexAsync> = LazyLock::new(Default::default);
    &LOCKS
}

fn keyed_lock() -> &'static KeyedLockAsync {
    static LOCKS: LazyLock<KeyedLockAsync> = LazyLock::new(Default::default);
    &LOCKS
}

fn lockable() -> &'static Lockable {
    static LOCKS: LazyLock<Lockable> = LazyLock::new(Default::default);
    &LOCKS
}

pub(super) fn one_key(pace: Pace) -> Vec<Report> {
    let feeds = |slow: bool| {
        let runtime = runtime();
        let key = || "feed".to_owned();
        let ours = "#[lock(\"feed\")] async fn";
        let mut contestants = vec![tasks(&runtime, PEER, move |_| with(dashmap(), key(), slow))];
        contestants.push(if slow {
            tasks(&runtime, ours, |_| slow_feed())
        } else {
            tasks(&runtime, ours, |_| feed())
        });
        contestants.extend([
            tasks(&runtime, "key-mutex", move |_| with(key_mutex(), key(), slow)),
            tasks(&runtime, "keyed-lock", move |_| with(keyed_lock(), key(), slow)),
            tasks(&runtime, "lockable", move |_| with(lockable(), key(), slow)),
        ]);
        let held = if slow { "held across a yield" } else { "held for nothing" };
        Report {
            row: "async-one-key",
            compares: format!("1,000 tasks lock one key, {held}"),
            unit: "million operations per second",
            figures: race(slices(pace), contestants)
                .into_iter()
                .map(|each| each.map(|nanos| 1e3 / nanos))
                .collect(),
            goals: vec![Goal::ratio(ours, PEER, Bound::AtLeast(0.95))],
        }
    };
    vec![feeds(true), feeds(false)]
}

/// What `steal_after` costs those who wait.
pub(super) fn stealing(pace: Pace) -> Vec<Report> {
    const PLAIN: &str = "#[lock(\"crowd\")] async fn";
    const STEALS: &str = "the same with `steal_after`";
    let runtime = runtime();
    let contestants = vec![
        many(&runtime, PLAIN, 2_000, |_| crowd()),
        many(&runtime, STEALS, 2_000, |_| thieves()),
    ];
    vec![Report {
        row: "steal-after",
        compares: "2,000 tasks lock one key, held across a yield, and may steal it or not".into(),
        unit: "ns per operation",
        figures: race(slices(pace), contestants),
        goals: vec![Goal::ratio(STEALS, PLAIN, Bound::AtMost(1.5))],
    }]
}

pub(super) fn many_keys(pace: Pace) -> Vec<Report> {
    let runtime = runtime();
    let key = |id: usize| format!("user:{id}");
    let ours = "#[lock(\"user:{id}\")] async fn";
    let contestants = vec![
        tasks(&runtime, PEER, move |id| with(dashmap(), key(id), false)),
        tasks(&runtime, ours, user),
        tasks(&runtime, "key-mutex", move |id| with(key_mutex(), key(id), false)),
        tasks(&runtime, "keyed-lock", move |id| with(keyed_lock(), key(id), false)),
        tasks(&runtime, "lockable", move |id| with(lockable(), key(id), false)),
    ];
    vec![Report {
        row: "async-keys",
        compares: "1,000 tasks, each formats and locks a key of its own again and again".into(),
        unit: "million operations per second",
        figures: race(slices(pace), contestants)
            .into_iter()
            .map(|each| each.map(|nanos| 1e3 / nanos))
            .collect(),
        goals: vec![Goal::ratio(ours, PEER, Bound::AtLeast(0.9))],
    }]
}

fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
    runtime.expect("two threads can be started")
}

/// Longer slices, because each starts a thousand tasks.
fn slices(pace: Pace) -> Pace {
    pace.with(9, pace.slice * 10)
}

fn tasks<'a, F: Future<Output = ()> + Send + 'static>(
    runtime: &'a Runtime,
    name: &str,
    operation: impl Fn(usize) -> F + Copy + Send + 'static,
) -> Contestant<'a> {
    many(runtime, name, TASKS, operation)
}

/// Starts so many tasks, each with its number, and waits until all have done their share.
fn many<'a, F: Future<Output = ()> + Send + 'static>(
    runtime: &'a Runtime,
    name: &str,
    count: usize,
    operation: impl Fn(usize) -> F + Copy + Send + 'static,
) -> Contestant<'a> {
    Contestant::timed(name, move |times| {
        let share = times.div_ceil(count as u64);
        let took = runtime.block_on(async {
            let mut tasks = JoinSet::new();
            let start = Instant::now();
            for id in 0..count {
                tasks.spawn(async move {
                    for _ in 0..share {
                        operation(id).await;
                    }
                });
            }
            tasks.join_all().await;
            start.elapsed()
        });
        // As if it had been exactly so many operations.
        took.mul_f64(times as f64 / (share * count as u64) as f64)
    })
}
