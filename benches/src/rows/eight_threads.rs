//! Eight threads that want one key over and over, and hold it for a microsecond.

use std::hint::spin_loop;
use std::sync::{Barrier, LazyLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use locks::lock;
use locks_benches::measure::Pace;
use locks_benches::peers::{DashMapOfArcs, KeyMutex, KeyedLock, Lockable, Named};
use locks_benches::report::{Bound, Figure, Goal, Report};
use parking_lot::Mutex;

const THREADS: usize = 8;
const HOLD: Duration = Duration::from_micros(1);

const OURS: &str = "#[lock(\"hot\")]";
const FLOOR: &str = "parking_lot::Mutex (floor)";

#[lock("hot")]
fn ours() {
    hold();
}

fn bare_mutex() {
    static HOT: Mutex<()> = Mutex::new(());
    let _held = HOT.lock();
    hold();
}

fn std_mutex() {
    static HOT: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _held = HOT.lock().unwrap_or_else(PoisonError::into_inner);
    hold();
}

/// What the scheduler alone does to eight threads on fewer cores.
fn no_lock() {
    hold();
}

fn by_name() {
    let _held = locks::named("hot by name").acquire().expect("waits for ever");
    hold();
}

fn with<L: Named>(locks: &L) {
    let _held = locks.lock("hot");
    hold();
}

fn dashmap() {
    static LOCKS: LazyLock<DashMapOfArcs> = LazyLock::new(Default::default);
    with(&*LOCKS);
}

fn key_mutex() {
    static LOCKS: LazyLock<KeyMutex> = LazyLock::new(Default::default);
    with(&*LOCKS);
}

fn keyed_lock() {
    static LOCKS: LazyLock<KeyedLock> = LazyLock::new(Default::default);
    with(&*LOCKS);
}

fn lockable() {
    static LOCKS: LazyLock<Lockable> = LazyLock::new(Default::default);
    with(&*LOCKS);
}

const CONTESTANTS: &[(&str, fn())] = &[
    (FLOOR, bare_mutex),
    (OURS, ours),
    ("locks::named(key)", by_name),
    ("std::sync::Mutex", std_mutex),
    ("DashMap<_, Arc<Mutex>>, leaks", dashmap),
    ("key-mutex", key_mutex),
    ("keyed-lock", keyed_lock),
    ("lockable", lockable),
    ("no lock at all", no_lock),
];

pub(super) fn run(pace: Pace) -> Vec<Report> {
    let window = pace.slice * 125;
    let blank = || CONTESTANTS.iter().map(|(name, _)| Figure::new(name)).collect::<Vec<_>>();
    let (mut rates, mut spreads, mut waits) = (blank(), blank(), blank());
    for _ in 0..pace.rounds {
        for (at, (_, operation)) in CONTESTANTS.iter().enumerate() {
            let crowd = crowd(window, *operation);
            rates[at].rounds.push(crowd.rate());
            spreads[at].rounds.push(crowd.spread());
            waits[at].rounds.push(crowd.longest.as_secs_f64() * 1e3);
        }
    }
    let report = |what: &str, unit, figures, goal| Report {
        row: "eight-threads",
        compares: format!("{THREADS} threads on one key, held for 1 µs: {what}"),
        unit,
        figures,
        goals: vec![goal],
    };
    let rate = Goal::ratio(OURS, FLOOR, Bound::AtLeast(0.95));
    let spread = Goal::absolute(OURS, Bound::AtMost(1.5));
    let wait = Goal::absolute(OURS, Bound::AtMost(10.0));
    vec![
        report("all threads together", "thousand operations per second", rates, rate),
        report("operations of the most served thread", "× the least served", spreads, spread),
        report("the longest wait of any thread", "ms", waits, wait),
    ]
}

/// What eight threads achieved in one window.
struct Crowd {
    served: Vec<u64>,
    longest: Duration,
    took: Duration,
}

impl Crowd {
    fn rate(&self) -> f64 {
        self.served.iter().sum::<u64>() as f64 / self.took.as_secs_f64() / 1e3
    }

    fn spread(&self) -> f64 {
        let most = self.served.iter().max().copied().unwrap_or_default();
        let least = self.served.iter().min().copied().unwrap_or_default();
        most as f64 / least.max(1) as f64
    }
}

/// Lets all threads repeat `operation` until `window` has passed.
fn crowd(window: Duration, operation: fn()) -> Crowd {
    let start = Barrier::new(THREADS);
    let start = &start;
    let began = Instant::now();
    let served = thread::scope(|scope| {
        let threads =
            (0..THREADS).map(|_| scope.spawn(move || one_of_them(start, window, operation)));
        let threads = threads.collect::<Vec<_>>();
        threads.into_iter().map(|each| each.join().expect("it only locks")).collect::<Vec<_>>()
    });
    Crowd {
        took: began.elapsed(),
        longest: served.iter().map(|(_, longest)| *longest).max().unwrap_or_default(),
        served: served.into_iter().map(|(times, _)| times).collect(),
    }
}

/// How often one thread was served, and its longest operation less the hold.
fn one_of_them(start: &Barrier, window: Duration, operation: fn()) -> (u64, Duration) {
    start.wait();
    let end = Instant::now() + window;
    let (mut times, mut longest) = (0, Duration::ZERO);
    let mut asked = Instant::now();
    while asked < end {
        operation();
        let done = Instant::now();
        longest = longest.max((done - asked).saturating_sub(HOLD));
        times += 1;
        asked = done;
    }
    (times, longest)
}

fn hold() {
    let granted = Instant::now();
    while granted.elapsed() < HOLD {
        spin_loop();
    }
}
