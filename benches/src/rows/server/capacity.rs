//! Measures the processor time that a server spends on an operation, which gives operations per
//! second of a core even on a busy machine.

use std::fs;
use std::io;
use std::path::Path;

use locks_benches::measure::Pace;
use locks_benches::report::{Bound, Figure, Goal, Report};

use super::address::Transport;
use super::client::{Client, Service};
use super::crowd::together;
use super::redis::Wait;
use super::servers::{Servers, served};

const CLIENTS: usize = 8;
const OPERATIONS: u64 = 20_000;

const REDIS: &str = "Redis, SET NX PX and a script";
/// By a Unix socket and by TCP.
const OURS: [&str; 2] = ["unix.named(key).acquire()", "tcp.named(key).acquire()"];

pub(crate) fn run(pace: Pace, base: &Path) -> Vec<Report> {
    let servers = Servers::start(base, "capacity");
    Transport::ALL.map(|transport| measure(pace, &servers, transport)).into()
}

fn measure(pace: Pace, servers: &Servers, transport: Transport) -> Report {
    let ours = OURS[transport as usize];
    let mut figures = Vec::new();
    if let Some(server) = servers.ours(transport) {
        figures.push(figure(ours, pace, server.id, &server.locks()));
    }
    if let Ok(redis) = &servers.redis {
        figures.push(figure(REDIS, pace, redis.id, &redis.locks(transport, Wait::Poll)));
    }
    let compares = servers.ours(transport).is_some() && servers.redis.is_ok();
    Report {
        row: "server-capacity",
        compares: format!(
            "acquire and release, {CLIENTS} clients with a key each, by {transport}: by what the server's process takes of \
             a processor{}",
            servers.missing(transport)
        ),
        unit: "thousand operations per second of a core",
        figures,
        goals: Vec::from_iter(compares.then(|| Goal::ratio(ours, REDIS, Bound::AtLeast(1.0)))),
    }
}

fn figure(name: &str, pace: Pace, process: u32, service: &impl Service) -> Figure {
    let clients = (0..CLIENTS).map(|id| service.connect(&format!("ledger:{id}")));
    let clients = clients.collect::<io::Result<Vec<_>>>();
    let mut clients = clients.unwrap_or_else(|error| panic!("{name}: {error}"));
    let both = |client: &mut dyn Client| {
        served(client.take());
        served(client.give());
    };
    let mut measure = || -> io::Result<f64> {
        let before = taken(process)?;
        together(&mut clients, OPERATIONS, both);
        Ok(OPERATIONS as f64 * 1e6 / (taken(process)? - before))
    };
    let rounds = (0..pace.rounds).map(|_| measure()).collect::<io::Result<_>>();
    let rounds = rounds.unwrap_or_else(|error| panic!("{name}: {error}"));
    Figure { name: name.to_owned(), rounds }
}

/// Nanoseconds of processors that all threads of a process have had.
fn taken(process: u32) -> io::Result<f64> {
    let mut taken = 0.0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        // One that has ended meanwhile had little to do.
        let Ok(told) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let nanos = told.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok());
        taken += nanos.ok_or_else(|| io::Error::other("the system does not tell"))?;
    }
    Ok(taken)
}
