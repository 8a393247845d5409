//! Two threads of one process that hand one key to and fro.

use std::hint::spin_loop;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use locks::Backend;
use locks_benches::measure::Pace;
use locks_benches::report::{Bound, Figure, Goal, Report};
use parking_lot::Mutex;

use super::TIMEOUT;
use crate::rows::latencies::{Latencies, Turn, now};
use crate::rows::place::Place;

const IN_PROCESS: &str = "in-process";
const OURS: &str = "file";

/// What a thread does while the other one waits: long enough for that one to be asleep.
const WORK: Duration = Duration::from_micros(100);

pub(crate) fn run(pace: Pace, base: &Path) -> Vec<Report> {
    let place = Place::new(base, "threads");
    let file = super::backend(place.path());
    let tables = [
        ("released as soon as the other one asks", Duration::ZERO, 10.0),
        ("released after 100 µs of work", WORK, 1.5),
    ];
    let measured = tables.into_iter().map(|(what, work, most)| {
        let of = |(which, figures)| report(&place, what, which, figures, most);
        measure(pace, &file, work).map(of)
    });
    measured.flatten().collect()
}

type Entrant<'a> = (&'static str, Box<dyn Fn(u64) -> Latencies + 'a>);

fn report(place: &Place, what: &str, which: &str, figures: Vec<Figure>, most: f64) -> Report {
    Report {
        row: "file-threads",
        compares: format!(
            "two threads of one process hand one key over, {what}, in {}: release to grant, {which}",
            place.described()
        ),
        unit: "µs",
        figures,
        goals: vec![Goal::ratio(OURS, IN_PROCESS, Bound::AtMost(most))],
    }
}

fn measure(pace: Pace, file: &Backend, work: Duration) -> [(&'static str, Vec<Figure>); 2] {
    let process = Backend::process();
    let take = |backend: &Backend| {
        let lock = backend.named("handed over").wait(TIMEOUT);
        lock.acquire().expect("the other thread gives it back")
    };
    let mutex = Mutex::new(());
    let entrants: [Entrant<'_>; 3] = [
        (IN_PROCESS, Box::new(|times| to_and_fro(times, work, || take(&process)))),
        (OURS, Box::new(|times| to_and_fro(times, work, || take(file)))),
        ("parking_lot::Mutex", Box::new(|times| to_and_fro(times, work, || mutex.lock()))),
    ];
    let blank = || entrants.iter().map(|(name, _)| Figure::new(name)).collect::<Vec<_>>();
    let (mut middle, mut mean) = (blank(), blank());
    for round in 0..pace.rounds {
        for step in 0..entrants.len() {
            let at = if round % 2 == 0 { step } else { entrants.len() - 1 - step };
            let latencies = (entrants[at].1)(pace.turns as u64 * 140);
            middle[at].rounds.push(latencies.quantile(0.5));
            mean[at].rounds.push(latencies.mean());
        }
    }
    [("p50", middle), ("mean", mean)]
}

/// Lets two threads hand over so many times what `take` gives.
fn to_and_fro<G>(times: u64, work: Duration, take: impl Fn() -> G + Sync) -> Latencies {
    let state = State { last: times, ..State::default() };
    let turns = thread::scope(|scope| {
        let other = scope.spawn(|| state.take_turns(1, work, &take));
        let mut turns = state.take_turns(0, work, &take);
        turns.extend(other.join().expect("it only locks"));
        turns
    });
    Latencies::between(turns, 0)
}

/// What two threads know of each other. Nobody asks again before the other one has had the lock,
/// so that every grant is a hand-over.
#[derive(Default)]
struct State {
    /// How many hand-overs there are to be.
    last: u64,
    /// How often each thread has asked.
    asked: [AtomicU64; 2],
    granted: AtomicU64,
}

impl State {
    fn take_turns<G>(&self, me: usize, work: Duration, take: impl Fn() -> G) -> Vec<Turn> {
        let mut turns = Vec::new();
        loop {
            self.asked[me].store(turns.len() as u64 + 1, Ordering::Release);
            let held = take();
            let granted = now();
            let grants = self.granted.fetch_add(1, Ordering::AcqRel);
            if grants < self.last {
                // Turns are strict, so the other one has had every second grant so far.
                let due = grants.div_ceil(2) + 1;
                until(|| self.asked[1 - me].load(Ordering::Acquire) >= due);
                let work_ends = Instant::now() + work;
                while Instant::now() < work_ends {
                    spin_loop();
                }
            }
            let released = now();
            drop(held);
            turns.push((granted, released));
            // The last grant is one's own, or the next one, which is the other's.
            if grants + 1 >= self.last {
                return turns;
            }
            until(|| self.granted.load(Ordering::Acquire) > grants + 1);
        }
    }
}

fn until(done: impl Fn() -> bool) {
    while !done() {
        thread::yield_now();
    }
}
