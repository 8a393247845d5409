//! A key made from an argument, uncontended, over few and over many keys.

use locks::lock;
use locks_benches::measure::{Contestant, Pace, body, race};
use locks_benches::peers::{
    DashMapOfArcs, KeyMutex, KeyedLock, Lockable, MapOfArcs, Named, Striped,
};
use locks_benches::report::{Bound, Goal, Report};

const OURS: &str = "#[lock(\"invoice:{id}\")]";

#[lock("invoice:{id}")]
fn ours(id: usize) {
    body();
}

fn with(locks: &impl Named, id: usize) {
    let _held = locks.lock(format!("invoice:{id}"));
    body();
}

pub(super) fn run(pace: Pace) -> Vec<Report> {
    let (few, many) = (1_000, 100_000);
    let striped = Striped::default();
    let map = MapOfArcs::default();
    let dashmap = DashMapOfArcs::default();
    let key_mutex = KeyMutex::default();
    let keyed_lock = KeyedLock::default();
    let lockable = Lockable::default();
    let mut contestants = Vec::new();
    for (keys, called) in [(few, "1,000"), (many, "100,000")] {
        let name = |who: &str| format!("{who}, {called}");
        contestants.extend([
            over(keys, &name("one of 4,096 (floor)"), |id| with(&striped, id)),
            over(keys, &name(OURS), ours),
            over(keys, &name("Mutex<HashMap>, leaks"), |id| with(&map, id)),
            over(keys, &name("DashMap, leaks"), |id| with(&dashmap, id)),
            over(keys, &name("key-mutex"), |id| with(&key_mutex, id)),
            over(keys, &name("keyed-lock"), |id| with(&keyed_lock, id)),
            over(keys, &name("lockable"), |id| with(&lockable, id)),
        ]);
    }
    let ours = |called: &str| format!("{OURS}, {called}");
    vec![Report {
        row: "formatted",
        compares: "format a key, lock and unlock it on one thread, over 1,000 or 100,000 keys \
                   in a scattered order"
            .into(),
        unit: "ns per operation",
        figures: race(pace, contestants),
        goals: vec![
            Goal::ratio(&ours("1,000"), "keyed-lock, 1,000", Bound::AtMost(0.45)),
            Goal::ratio(&ours("100,000"), &ours("1,000"), Bound::AtMost(1.15)),
        ],
    }]
}

/// Locks keys `0..keys` in an order that jumps about, each equally often.
fn over<'a>(keys: usize, name: &str, lock: impl Fn(usize) + 'a) -> Contestant<'a> {
    // Both numbers of keys are no multiples of this prime, so that all keys get their turn.
    const STEP: usize = 7_919;
    let mut id = 0;
    Contestant::repeat(name, move || {
        lock(id);
        id = (id + STEP) % keys;
    })
}
