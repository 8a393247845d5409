//! Two threads, each on a key of its own: what does the second thread add?

use std::sync::{Barrier, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use locks::lock;
use locks_benches::measure::{Contestant, Pace, body, race};
use locks_benches::peers::{DashMapOfArcs, KeyMutex, KeyedLock, Lockable, Named};
use locks_benches::report::{Bound, Figure, Goal, Report};
use parking_lot::Mutex;

#[lock("left")]
fn left() {
    body();
}

#[lock("right")]
fn right() {
    body();
}

fn by_name(key: &str) {
    let _held = locks::named(key).acquire().expect("nobody else has it");
    body();
}

fn bare_mutex(side: usize) {
    /// Alone in its cache lines, so that the two do not slow each other down.
    #[repr(align(128))]
    struct Alone(Mutex<()>);
    static SIDES: [Alone; 2] = [const { Alone(Mutex::new(())) }; 2];
    let _held = SIDES[side].0.lock();
    body();
}

/// The peer that is keyed by `&'static str` in `literal`, likewise here.
fn keyed_lock_literal(key: &'static str) {
    static LOCKS: LazyLock<keyed_lock::sync::KeyedLock<&str>> =
        LazyLock::new(keyed_lock::sync::KeyedLock::new);
    let _held = LOCKS.lock(key);
    body();
}

fn with(locks: &impl Named, key: &str) {
    let _held = locks.lock(key);
    body();
}

pub(super) fn run(pace: Pace) -> Vec<Report> {
    // Longer slices, because each starts a thread.
    let pace = pace.with(9, pace.slice * 4);
    vec![literal(pace), named(pace)]
}

fn literal(pace: Pace) -> Report {
    let (ours, peer) = ("#[lock(\"…\")]", "keyed-lock");
    let mut contestants = Vec::new();
    contestants.extend(one_and_two("parking_lot::Mutex", |_| bare_mutex(0), |_| bare_mutex(1)));
    contestants.extend(one_and_two(ours, |_| left(), |_| right()));
    contestants.extend(one_and_two(
        peer,
        |_| keyed_lock_literal("left"),
        |_| keyed_lock_literal("right"),
    ));
    let goals = vec![
        Goal::ratio(&two(ours), &one(ours), Bound::AtLeast(1.8)),
        Goal::ratio(&two(ours), &two(peer), Bound::AtLeast(10.0)),
    ];
    report("literal keys", race(pace, contestants), goals)
}

/// Sixteen keys on each side: with one, it would be a matter of luck in each run whether the two
/// meet in a part of somebody's table.
struct Sides([Vec<String>; 2]);

impl Sides {
    fn new() -> Self {
        Self(["left", "right"].map(|side| (0..16).map(|id| format!("{side}:{id}")).collect()))
    }

    /// Locks the keys of either side in turn.
    fn with<'a>(
        &'a self,
        name: &str,
        lock: impl Fn(&str) + Sync + Copy + 'a,
    ) -> [Contestant<'a>; 2] {
        let [left, right] = &self.0;
        one_and_two(name, move |turn| lock(&left[turn % 16]), move |turn| lock(&right[turn % 16]))
    }
}

fn named(pace: Pace) -> Report {
    let ours = "locks::named(key)";
    let sides = Sides::new();
    let dashmap = DashMapOfArcs::default();
    let key_mutex = KeyMutex::default();
    let keyed_lock = KeyedLock::default();
    let lockable = Lockable::default();
    let mut contestants = Vec::new();
    contestants.extend(sides.with(ours, by_name));
    contestants.extend(sides.with("DashMap, leaks", |key| with(&dashmap, key)));
    contestants.extend(sides.with("key-mutex", |key| with(&key_mutex, key)));
    contestants.extend(sides.with("keyed-lock", |key| with(&keyed_lock, key)));
    contestants.extend(sides.with("lockable", |key| with(&lockable, key)));
    let goals = vec![Goal::ratio(&two(ours), &one(ours), Bound::AtLeast(1.8))];
    report("16 keys each, looked up by `&str`", race(pace, contestants), goals)
}

fn one(name: &str) -> String {
    format!("{name}, one thread")
}

fn two(name: &str) -> String {
    format!("{name}, two threads")
}

/// `left` on one thread; `left` and `right` on a thread each. They are told which turn it is.
fn one_and_two<'a>(
    name: &str,
    left: impl Fn(usize) + Sync + Copy + 'a,
    right: impl Fn(usize) + Sync + Copy + 'a,
) -> [Contestant<'a>; 2] {
    let alone = Contestant::timed(&one(name), move |times| timed(times, left));
    let together = Contestant::timed(&two(name), move |times| {
        let (start, half) = (Barrier::new(2), times.div_ceil(2));
        let (left, right) = thread::scope(|scope| {
            let other = scope.spawn(|| {
                start.wait();
                timed(half, right)
            });
            start.wait();
            (timed(half, left), other.join().expect("the other thread only locks"))
        });
        together_as_one(left, right)
    });
    [alone, together]
}

fn timed(times: u64, operation: impl Fn(usize)) -> Duration {
    let start = Instant::now();
    (0..times as usize).for_each(operation);
    start.elapsed()
}

/// How long both together took for what each did half of: rates add up.
fn together_as_one(left: Duration, right: Duration) -> Duration {
    let rate = 0.5 / left.as_secs_f64() + 0.5 / right.as_secs_f64();
    Duration::from_secs_f64(1.0 / rate)
}

fn report(keys: &str, figures: Vec<Figure>, goals: Vec<Goal>) -> Report {
    Report {
        row: "two-threads",
        compares: format!("lock and unlock a key of one's own, one and two threads: {keys}"),
        unit: "million operations per second",
        figures: figures.into_iter().map(|each| each.map(|nanos| 1e3 / nanos)).collect(),
        goals,
    }
}
