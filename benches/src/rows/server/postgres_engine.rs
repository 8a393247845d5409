//! Locks at a PostgreSQL server, beside its advisory locks by the same client library, driven alike: on a
//! thread with a runtime of its own, since a caller may have none.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use locks::{Backend, OwnedGuard};
use locks_benches::measure::{Contestant, Pace, race};
use locks_benches::report::{Bound, Figure, Goal, Report};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::client::{Client, Entrant, Service};
use super::postgres::Postgres;
use super::servers::served;
use super::turns::by_turns;
use crate::rows::latencies::Latencies;

const OURS: &str = "postgres.named(key)";
const ADVISORY: &str = "pg_advisory_lock";
const POLLER: &str = "pg_try_advisory_lock, every 10 ms";
const POLL: Duration = Duration::from_millis(10);
/// How many tasks share a connection.
const TASKS: usize = 64;

pub(crate) fn run(pace: Pace, base: &Path) -> Vec<Report> {
    let server = match Postgres::start(base) {
        Ok(server) => server,
        Err(missing) => {
            let compares = format!("PostgreSQL: {missing}");
            let (unit, row) = ("µs", "postgres");
            return vec![Report { row, compares, unit, figures: Vec::new(), goals: Vec::new() }];
        }
    };
    let url = server.url();
    let driver = driver();
    let advisory = |poll| Advisory { url: url.clone(), driver: driver.clone(), poll };
    let entrants = [
        Entrant::new(ADVISORY, advisory(None)),
        Entrant::new(OURS, Ours(url.clone())),
        Entrant::new(POLLER, advisory(Some(POLL))),
    ];
    vec![pair(pace, &entrants[..2]), tasks(pace, &url, &driver), handover(pace, &entrants)]
}

/// A thread that carries out what is spawned there.
fn driver() -> Handle {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let handle = runtime.handle().clone();
    thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
}

fn pair(pace: Pace, entrants: &[Entrant]) -> Report {
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
        row: "postgres",
        compares: "one client: acquire and release".to_owned(),
        unit: "µs per operation",
        figures: figures.into_iter().map(|figure| figure.map(|nanos| nanos / 1e3)).collect(),
        goals: vec![Goal::ratio(OURS, ADVISORY, Bound::AtMost(4.0))],
    }
}

fn tasks(pace: Pace, url: &str, driver: &Handle) -> Report {
    let pace = pace.with(pace.turns, pace.slice * 20);
    let connected = driver.block_on_another(connect(url.to_owned()));
    let client = Arc::new(connected.expect("the server is there"));
    let backend = locks::open(url).expect("a URL");
    let runtime = || Builder::new_current_thread().build().expect("a runtime");
    let (theirs, ours) = (runtime(), runtime());
    let advisory = Contestant::repeat(ADVISORY, || {
        let turns = (0..TASKS).map(|task| {
            let (client, driver) = (client.clone(), driver.clone());
            theirs.spawn(async move {
                let pair = async move {
                    let key = i64::try_from(task).expect("it is small");
                    client.query("SELECT pg_advisory_lock($1)", &[&key]).await?;
                    client.query("SELECT pg_advisory_unlock($1)", &[&key]).await
                };
                driver.spawn(pair).await.expect("it only locks").expect("it is there");
            })
        });
        let turns = turns.collect::<Vec<_>>();
        theirs.block_on(async {
            for turn in turns {
                turn.await.expect("it only locks")
            }
        });
    });
    let own = Contestant::repeat(OURS, || {
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
                turn.await.expect("it only locks")
            }
        });
    });
    let figures = race(pace, vec![advisory, own]);
    let per_pair = |nanos: f64| nanos / 1e3 / TASKS as f64;
    Report {
        row: "postgres",
        compares: format!("{TASKS} tasks on one connection, a key each: acquire and release"),
        unit: "µs per operation",
        figures: figures.into_iter().map(|figure| figure.map(per_pair)).collect(),
        goals: Vec::new(),
    }
}

fn handover(pace: Pace, entrants: &[Entrant]) -> Report {
    let mut figures = entrants.iter().map(|each| Figure::new(each.name)).collect::<Vec<_>>();
    let connect =
        |entrant: &Entrant| [entrant.connect("handed over"), entrant.connect("handed over")];
    let mut pairs = entrants.iter().map(connect).collect::<Vec<_>>();
    let mut dice = 1;
    for round in 0..pace.rounds {
        for step in 0..pairs.len() {
            let at = if round % 2 == 0 { step } else { pairs.len() - 1 - step };
            // A poller is handed the lock some time within a sleep: its holds have to be as long as that.
            let turns = by_turns(&mut pairs[at], 12, POLL, &mut dice);
            figures[at].rounds.push(Latencies::between(turns, 2).quantile(0.5));
        }
    }
    Report {
        row: "postgres",
        compares: "two clients hand one lock over: release to grant, p50".to_owned(),
        unit: "µs",
        figures,
        goals: vec![
            Goal::ratio(OURS, ADVISORY, Bound::AtMost(3.5)),
            Goal::ratio(OURS, POLLER, Bound::AtMost(1.0)),
        ],
    }
}

struct Ours(String);

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

/// A session's advisory locks.
struct Advisory {
    url: String,
    driver: Handle,
    /// How often it tries, if it does not wait at the server.
    poll: Option<Duration>,
}

impl Service for Advisory {
    fn connect(&self, key: &str) -> io::Result<Box<dyn Client>> {
        let client = self.driver.block_on_another(connect(self.url.clone()))?;
        let function =
            if self.poll.is_some() { "pg_try_advisory_lock" } else { "pg_advisory_lock" };
        let statements = ["pg_advisory_unlock", function]
            .map(|function| format!("SELECT {function}(hashtextextended('{key}', 0))"));
        let client = Arc::new(client);
        let asks = client.clone();
        let prepared = self.driver.block_on_another(async move {
            let [give, take] = statements;
            Ok::<_, io::Error>((
                asks.prepare(&give).await.map_err(io::Error::other)?,
                asks.prepare(&take).await.map_err(io::Error::other)?,
            ))
        })?;
        let (give, take) = prepared;
        Ok(Box::new(Session { client, driver: self.driver.clone(), give, take, poll: self.poll }))
    }
}

struct Session {
    client: Arc<tokio_postgres::Client>,
    driver: Handle,
    give: tokio_postgres::Statement,
    take: tokio_postgres::Statement,
    poll: Option<Duration>,
}

impl Session {
    fn ask(&self, statement: &tokio_postgres::Statement) -> io::Result<tokio_postgres::Row> {
        let (client, statement) = (self.client.clone(), statement.clone());
        self.driver.block_on_another(async move {
            client.query_one(&statement, &[]).await.map_err(io::Error::other)
        })
    }
}

impl Client for Session {
    fn take(&mut self) -> io::Result<()> {
        loop {
            let row = self.ask(&self.take)?;
            let Some(poll) = self.poll else { return Ok(()) };
            if row.get(0) {
                return Ok(());
            }
            thread::sleep(poll);
        }
    }

    fn give(&mut self) -> io::Result<()> {
        self.ask(&self.give).map(drop)
    }

    fn give_and_wait(&mut self) -> io::Result<()> {
        self.give()
    }
}

async fn connect(url: String) -> io::Result<tokio_postgres::Client> {
    let connected = tokio_postgres::connect(&url, tokio_postgres::NoTls).await;
    let (client, connection) = connected.map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(client)
}

/// Waits on this thread for what another one carries out.
trait BlockOnAnother {
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
