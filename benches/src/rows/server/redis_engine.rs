//! Locks at a Redis server, beside what one makes of it by `SET NX PX` and a script that compares
//! and deletes.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use locks_benches::measure::Pace;
use locks_benches::report::Report;
use redis::aio::MultiplexedConnection;
use tokio::runtime::Handle;

use super::address::Transport;
use super::client::{Client, Entrant, Service};
use super::engine::{BlockOnAnother, Ours, POLL, Table, driver, missing};
use super::redis::{EXPIRY, RELEASE, Redis};
use crate::rows::place::Place;

const TABLE: Table = Table {
    row: "redis",
    ours: "redis.named(key)",
    floor: "SET NX PX, script",
    poller: "SET NX PX, every 10 ms",
    pair: 1.6,
    // What does not wait at the server cannot hand over.
    handover: [None, Some(1.0 / 8.0)],
    tasks: Some(2.0),
};

pub(crate) fn run(pace: Pace, base: &Path) -> Vec<Report> {
    let place = Place::new(base, TABLE.row);
    let server = match Redis::start(place.path()) {
        Ok(server) => server,
        Err(why) => return missing(TABLE.row, why),
    };
    let plain = format!("redis://{}", server.plain(Transport::Tcp).in_url());
    // The directory is new, and so is what is kept in it.
    let (url, driver) = (format!("{plain}?fresh=yes"), driver());
    let by_hand = |poll| ByHand { url: plain.clone(), driver: driver.clone(), poll };
    let entrants = [
        Entrant::new(TABLE.floor, by_hand(Duration::ZERO)),
        Entrant::new(TABLE.ours, Ours(url.clone())),
        Entrant::new(TABLE.poller, by_hand(POLL)),
    ];
    let connected = driver.block_on_another(connect(plain.clone()));
    let connection = connected.expect("the server is there");
    let tasks = TABLE.tasks(pace, &url, &driver, |task| {
        let connection = connection.clone();
        async move {
            let key = format!("task {task}");
            take(connection.clone(), key.clone()).await?;
            give(connection, key).await
        }
    });
    vec![TABLE.pair(pace, &entrants[..2]), tasks, TABLE.handover(pace, &entrants[1..])]
}

/// Locks as the documentation of Redis has them.
struct ByHand {
    url: String,
    driver: Handle,
    poll: Duration,
}

impl Service for ByHand {
    fn connect(&self, key: &str) -> io::Result<Box<dyn Client>> {
        let connection = self.driver.block_on_another(connect(self.url.clone()))?;
        let (driver, key) = (self.driver.clone(), key.to_owned());
        Ok(Box::new(Session { connection, driver, key, poll: self.poll }))
    }
}

struct Session {
    connection: MultiplexedConnection,
    driver: Handle,
    key: String,
    poll: Duration,
}

impl Client for Session {
    fn take(&mut self) -> io::Result<()> {
        loop {
            let taken = take(self.connection.clone(), self.key.clone());
            if self.driver.block_on_another(taken)? {
                return Ok(());
            }
            thread::sleep(self.poll);
        }
    }

    fn give(&mut self) -> io::Result<()> {
        self.driver.block_on_another(give(self.connection.clone(), self.key.clone()))
    }

    fn give_and_wait(&mut self) -> io::Result<()> {
        self.give()
    }
}

/// Whether it was free.
async fn take(mut connection: MultiplexedConnection, key: String) -> io::Result<bool> {
    let mut set = redis::cmd("SET");
    set.arg(key).arg("mine").arg("NX").arg("PX").arg(EXPIRY);
    let set = set.query_async::<Option<String>>(&mut connection).await;
    set.map(|taken| taken.is_some()).map_err(io::Error::other)
}

async fn give(mut connection: MultiplexedConnection, key: String) -> io::Result<()> {
    let script = redis::Script::new(RELEASE);
    let given = script.key(key).arg("mine").invoke_async::<u8>(&mut connection).await;
    given.map(drop).map_err(io::Error::other)
}

async fn connect(url: String) -> io::Result<MultiplexedConnection> {
    let client = redis::Client::open(url).map_err(io::Error::other)?;
    client.get_multiplexed_async_connection().await.map_err(io::Error::other)
}
