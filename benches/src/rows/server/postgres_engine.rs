//! Locks at a PostgreSQL server, beside its advisory locks.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use locks_benches::measure::Pace;
use locks_benches::report::Report;
use tokio::runtime::Handle;

use super::client::{Client, Entrant, Service};
use super::engine::{BlockOnAnother, Ours, POLL, Table, driver, missing};
use super::postgres::Postgres;

const TABLE: Table = Table {
    row: "postgres",
    ours: "postgres.named(key)",
    floor: "pg_advisory_lock",
    poller: "pg_try_advisory_lock, every 10 ms",
    pair: 4.0,
    handover: [Some(3.5), Some(1.0)],
    tasks: None,
};

pub(crate) fn run(pace: Pace, base: &Path) -> Vec<Report> {
    let server = match Postgres::start(base) {
        Ok(server) => server,
        Err(why) => return missing(TABLE.row, format!("PostgreSQL: {why}")),
    };
    let (url, driver) = (server.url(), driver());
    let new = format!("{url}?fresh=yes");
    let advisory = |poll| Advisory { url: url.clone(), driver: driver.clone(), poll };
    let entrants = [
        Entrant::new(TABLE.floor, advisory(None)),
        Entrant::new(TABLE.ours, Ours(new.clone())),
        Entrant::new(TABLE.poller, advisory(Some(POLL))),
    ];
    let connected = driver.block_on_another(connect(url.clone()));
    let client = Arc::new(connected.expect("the server is there"));
    let tasks = TABLE.tasks(pace, &new, &driver, |task| {
        let client = client.clone();
        async move {
            let key = i64::try_from(task).expect("it is small");
            let error = io::Error::other;
            client.query("SELECT pg_advisory_lock($1)", &[&key]).await.map_err(error)?;
            let unlock = "SELECT pg_advisory_unlock($1)";
            client.query(unlock, &[&key]).await.map(drop).map_err(error)
        }
    });
    vec![TABLE.pair(pace, &entrants[..2]), tasks, TABLE.handover(pace, &entrants)]
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
