//! What the rows of the engines have in common: a server's locks by ours, beside what it can do by
//! itself by the same client library, driven alike: on a thread with a runtime of its own, since a
//! caller may have none.

use std::io;
use std::thread;
use std::time::Duration;

use locks::{Backend, OwnedGuard};
use locks_benches::measure::{Contestant, Pace, race};
use locks_benches::report::{Bound, Figure, Goal, Report};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::client::{Client, Entrant, Service};
use super::servers::served;
use super::turns::by_turns;
use crate::rows::latencies::Latencies;

/// How long those sleep between two looks who are not called.
pub(super) const POLL: Duration = Duration::from_millis(10);
/// How many tasks share a connection.
const TASKS: usize = 64;

/// A row of one engine, and what its goals are.
pub(super) struct Table {
    pub(super) row: &'static str,
    pub(super) ours: &'static str,
    /// What the server can do at the least.
    pub(super) floor: &'static str,
    pub(super) poller: &'static str,
    /// How much more a pair may take than that of the floor.
    pub(super) pair: f64,
    /// The same of a hand-over beside the floor, if that waits at the server, and beside the
    /// poller.
    pub(super) handover: [Option<f64>; 2],
    /// The same of a pair of one of many tasks.
    pub(super) tasks: Option<f64>,
}

/// A table without contestants, since something is missing.
pub(super) fn missing(row: &'static str, why: String) -> Vec<Report> {
    vec![Report { row, compares: why, unit: "µs", figures: Vec::new(), goals: Vec::new() }]
}

/// A thread that carries out what is spawned there.
pub(super) fn driver() -> Handle {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let handle = runtime.handle().clone();
    thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
}

impl Table {
    pub(super) fn pair(&self, pace: Pace, entrants: &[Entrant]) -> Report {
        let pace = pace.with(pace.turns, pace.slice * 10);
        let contestants = entrants.iter().map(|entrant| {
            let mut client = entrant.connect("ledger");
            Contestant::repeat(entrant.name, move || {
                served(client.take());
                served(client.give());
            })
        });
        let figures = race(pace, contestants.collect());
        Report {
            row: self.row,
            compares: "one client: acquire and release".to_owned(),
            unit: "µs per operation",
            figures: figures.into_iter().map(|figure| figure.map(|nanos| nanos / 1e3)).collect(),
            goals: vec![Goal::ratio(self.ours, self.floor, Bound::AtMost(self.pair))],
        }
    }

    /// `floor` is a pair of acquire and release of the key of that number, on `driver`, by one
    /// connection.
    pub(super) fn tasks<F>(
        &self,
        pace: Pace,
        url: &str,
        driver: &Handle,
        floor: impl Fn(usize) -> F,
    ) -> Report
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let pace = pace.with(pace.turns, pace.slice * 20);
        let backend = locks::open(url).expect("a URL");
        let runtime = || Builder::new_current_thread().build().expect("a runtime");
        let (theirs, ours) = (runtime(), runtime());
        let least = Contestant::repeat(self.floor, || {
            let turns = (0..TASKS).map(|task| {
                let (pair, driver) = (floor(task), driver.clone());
                theirs.spawn(async move { driver.spawn(pair).await.expect("it only locks") })
            });
            let turns = turns.collect::<Vec<_>>();
            theirs.block_on(async {
                for turn in turns {
                    served(turn.await.expect("it only locks"));
                }
            });
        });
        let own = Contestant::repeat(self.ours, || {
            let turns = (0..TASKS).map(|task| {
                let backend = backend.clone();
                ours.spawn(async move {
                    let key = format!("task {task}");
                    drop(backend.named(key).acquire_async().await.expect("it is there"));
                })
            });
            let turns = turns.collect::<Vec<_>>();
            ours.block_on(async {
                for turn in turns {
                    turn.await.expect("it only locks");
                }
            });
        });
        let figures = race(pace, vec![least, own]);
        let per_pair = |nanos: f64| nanos / 1e3 / TASKS as f64;
        let goal = |bound| Goal::ratio(self.ours, self.floor, Bound::AtMost(bound));
        Report {
            row: self.row,
            compares: format!("{TASKS} tasks on one connection, a key each: acquire and release"),
            unit: "µs per operation",
            figures: figures.into_iter().map(|figure| figure.map(per_pair)).collect(),
            goals: self.tasks.map(goal).into_iter().collect(),
        }
    }

    pub(super) fn handover(&self, pace: Pace, entrants: &[Entrant]) -> Report {
        let mut figures = entrants.iter().map(|each| Figure::new(each.name)).collect::<Vec<_>>();
        let connect =
            |entrant: &Entrant| [entrant.connect("handed over"), entrant.connect("handed over")];
        let mut pairs = entrants.iter().map(connect).collect::<Vec<_>>();
        let mut dice = 1;
        for round in 0..pace.rounds {
            for step in 0..pairs.len() {
                let at = if round % 2 == 0 { step } else { pairs.len() - 1 - step };
                // A poller is handed the lock some time within a sleep: its holds have to be as
                // long as that.
                let turns = by_turns(&mut pairs[at], 12, POLL, &mut dice);
                figures[at].rounds.push(Latencies::between(turns, 2).quantile(0.5));
            }
        }
        let bounds = [self.floor, self.poller].into_iter().zip(self.handover);
        let goals = bounds.filter_map(|(beside, bound)| {
            Some(Goal::ratio(self.ours, beside, Bound::AtMost(bound?)))
        });
        Report {
            row: self.row,
            compares: "two clients hand one lock over: release to grant, p50".to_owned(),
            unit: "µs",
            figures,
            goals: goals.collect(),
        }
    }
}

/// Our clients of the server at a URL.
pub(super) struct Ours(pub(super) String);

impl Service for Ours {
    fn connect(&self, key: &str) -> io::Result<Box<dyn Client>> {
        let backend = locks::open(&self.0).map_err(io::Error::other)?;
        Ok(Box::new(Holder { backend, key: key.to_owned(), guard: None }))
    }
}

struct Holder {
    backend: Backend,
    key: String,
    guard: Option<OwnedGuard>,
}

impl Client for Holder {
    fn take(&mut self) -> io::Result<()> {
        let guard = self.backend.named(&self.key).acquire().map_err(io::Error::other)?;
        self.guard = Some(guard.into_owned());
        Ok(())
    }

    fn give(&mut self) -> io::Result<()> {
        self.guard = None;
        Ok(())
    }

    fn give_and_wait(&mut self) -> io::Result<()> {
        self.guard.take().map_or(Ok(()), OwnedGuard::release).map_err(io::Error::other)
    }
}

/// Waits on this thread for what another one carries out.
pub(super) trait BlockOnAnother {
    fn block_on_another<T: Send + 'static>(
        &self,
        step: impl Future<Output = io::Result<T>> + Send + 'static,
    ) -> io::Result<T>;
}

impl BlockOnAnother for Handle {
    fn block_on_another<T: Send + 'static>(
        &self,
        step: impl Future<Output = io::Result<T>> + Send + 'static,
    ) -> io::Result<T> {
        let (sender, receiver) = oneshot::channel();
        self.spawn(async move {
            // Whether it is still waited for makes no difference.
            let _ = sender.send(step.await);
        });
        receiver.blocking_recv().unwrap_or_else(|_| Err(io::Error::other("the step panicked")))
    }
}
