//! A key that is known only at run time, as a `&str`, uncontended.

use std::hint::black_box;

use locks_benches::measure::{Contestant, Pace, body, race};
use locks_benches::peers::{
    DashMapOfArcs, KeyMutex, KeyedLock, Lockable, MapOfArcs, Named, Striped,
};
use locks_benches::report::{Bound, Goal, Report};

const FLOOR: &str = "one of 4,096 mutexes (floor)";
const OURS: &str = "locks::named(key).acquire()";

fn ours(key: &str) {
    let _held = locks::named(key).acquire().expect("nobody else has it");
    body();
}

fn with(locks: &impl Named, key: &str) {
    let _held = locks.lock(key);
    body();
}

pub(super) fn run(pace: Pace) -> Vec<Report> {
    vec![measure(pace, 1, "one key"), measure(pace, 1000, "each of 1,000 keys in turn")]
}

fn measure(pace: Pace, count: usize, which: &str) -> Report {
    let keys = (0..count).map(|id| format!("invoice:{id}")).collect::<Vec<String>>();
    let striped = Striped::default();
    let map = MapOfArcs::default();
    let dashmap = DashMapOfArcs::default();
    let key_mutex = KeyMutex::default();
    let keyed_lock = KeyedLock::default();
    let lockable = Lockable::default();
    let figures = race(
        pace,
        vec![
            over(&keys, FLOOR, |key| with(&striped, key)),
            over(&keys, OURS, ours),
            over(&keys, "Mutex<HashMap<_, Arc<Mutex>>>, leaks", |key| with(&map, key)),
            over(&keys, "DashMap<_, Arc<Mutex>>, leaks", |key| with(&dashmap, key)),
            over(&keys, "key-mutex", |key| with(&key_mutex, key)),
            over(&keys, "keyed-lock", |key| with(&keyed_lock, key)),
            over(&keys, "lockable", |key| with(&lockable, key)),
        ],
    );
    Report {
        row: "name",
        compares: format!("look a key up by `&str`, lock and unlock it on one thread: {which}"),
        unit: "ns per operation",
        figures,
        goals: vec![Goal::ratio(OURS, FLOOR, Bound::AtMost(1.5))],
    }
}

/// Locks the keys in turn.
fn over<'a>(keys: &'a [String], name: &str, lock: impl Fn(&str) + 'a) -> Contestant<'a> {
    let mut next = 0;
    Contestant::repeat(name, move || {
        lock(black_box(keys[next].as_str()));
        next = if next + 1 == keys.len() { 0 } else { next + 1 };
    })
}
