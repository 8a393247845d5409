//! What a server needs for a key that is held, and for a connection on which nothing happens.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::Path;

use locks_benches::measure::Pace;
use locks_benches::report::{Bound, Figure, Goal, Report};

use super::TIMEOUT;
use super::address::{Address, Transport};
use super::child::Started;
use super::client::Service;
use super::echo::Echo;
use super::ours::Ours;
use super::redis::Redis;
use super::resp::Connection;
use crate::rows::place::Place;

const KEYS: usize = 100_000;
const CONNECTIONS: usize = 500;

const OURS: &str = "locks";
const OURS_BY_TCP: &str = "locks, by TLS";
const REDIS: &str = "Redis";

pub(crate) fn run(pace: Pace, base: &Path) -> Vec<Report> {
    let (mut keys, mut connections) = (Vec::new(), Vec::new());
    let mut missing = String::new();
    // A server that has been used keeps what it was given, so every figure is of a fresh one.
    for _ in 0..pace.rounds.min(3) {
        missing.clear();
        let place = Place::new(base, "memory");
        match Ours::start(Transport::Unix, place.path()) {
            Ok(ours) => {
                add(&mut connections, OURS, ours_connections(&ours));
                add(&mut keys, OURS, ours_keys(&ours));
            }
            Err(why) => missing = format!("; {why}"),
        }
        match Ours::start(Transport::Tcp, place.path()) {
            Ok(ours) => add(&mut connections, OURS_BY_TCP, ours_connections(&ours)),
            Err(why) => missing += &format!("; {why}"),
        }
        match Redis::start(place.path()) {
            Ok(redis) => {
                let at = redis.at(Transport::Unix);
                add(&mut connections, REDIS, redis_connections(redis.id, &at));
                add(&mut keys, REDIS, redis_keys(redis.id, &at));
            }
            Err(why) => missing += &format!("; {why}"),
        }
        let echoes =
            [("echo", "echo, a thread for each"), ("echo-in-tasks", "echo by tokio, one thread")];
        for (role, name) in echoes {
            add(&mut connections, name, echo_connections(role, place.path()));
        }
    }
    let report = |what: &str, figures: Vec<Figure>, most| Report {
        row: "server-memory",
        compares: format!("resident memory of a server {what}{missing}"),
        unit: "bytes",
        goals: if figures.iter().any(|figure| figure.name == OURS) {
            vec![Goal::absolute(OURS, Bound::AtMost(most))]
        } else {
            Vec::new()
        },
        figures,
    };
    vec![
        report("per key, of 100,000 that one client holds", keys, 200.0),
        report("per connection that has been used once and is idle, of 500", connections, 16384.0),
    ]
}

fn add(figures: &mut Vec<Figure>, name: &str, value: io::Result<f64>) {
    let value = value.unwrap_or_else(|error| panic!("{name}: {error}"));
    if let Some(figure) = figures.iter_mut().find(|figure| figure.name == name) {
        figure.rounds.push(value);
    } else {
        figures.push(Figure { name: name.to_owned(), rounds: vec![value] });
    }
}

/// Bytes that a process has in memory for itself alone, not from files.
fn resident(process: u32) -> io::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    let kilobytes = kilobytes.ok_or_else(|| io::Error::other("the system does not tell"))?;
    Ok(kilobytes * 1024.0)
}

/// What each of `count` adds to the memory of `process`; `add` returns what keeps them there.
fn each<T>(process: u32, count: usize, add: impl Fn(usize) -> io::Result<T>) -> io::Result<f64> {
    // What is needed once for all is not counted.
    let _first = add(count)?;
    let before = resident(process)?;
    let _kept = (0..count).map(add).collect::<io::Result<Vec<_>>>()?;
    Ok((resident(process)? - before) / count as f64)
}

fn ours_keys(ours: &Ours) -> io::Result<f64> {
    let client = ours.client()?;
    each(ours.id, KEYS, |id| {
        let key = format!("ledger:{id:06}");
        Ok(client.named(key.as_str()).wait(TIMEOUT).acquire()?)
    })
}

fn ours_connections(ours: &Ours) -> io::Result<f64> {
    each(ours.id, CONNECTIONS, |id| {
        let client = ours.client()?;
        let key = format!("ledger:{id:06}");
        client.named(key.as_str()).wait(TIMEOUT).acquire()?.release()?;
        Ok(client)
    })
}

fn redis_keys(process: u32, at: &Address) -> io::Result<f64> {
    let client = RefCell::new(Connection::open(at)?);
    each(process, KEYS, |id| {
        let (key, mine) = (format!("ledger:{id:06}"), format!("{id:020}"));
        client.borrow_mut().ask(&["SET", &key, &mine, "NX", "PX", "3600000"])
    })
}

fn redis_connections(process: u32, at: &Address) -> io::Result<f64> {
    each(process, CONNECTIONS, |_| {
        let mut client = Connection::open(at)?;
        client.ask(&["PING"])?;
        Ok(client)
    })
}

fn echo_connections(role: &str, directory: &Path) -> io::Result<f64> {
    let (server, address) = Started::serving(role, Transport::Unix, directory)?;
    let echo = Echo(address);
    each(server.id(), CONNECTIONS, |_| {
        let mut client = echo.connect("")?;
        client.take()?;
        Ok(client)
    })
}
