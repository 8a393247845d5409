//! Many clients with a connection and a key each.

use std::path::Path;

use locks_benches::measure::{Contestant, Pace, race};
use locks_benches::report::{Bound, Figure, Goal, Report};

use super::address::Transport;
use super::client::{Client, Entrant};
use super::crowd::together;
use super::echo::Echo;
use super::redis::Wait;
use super::servers::{Servers, served};

const CLIENTS: usize = 64;

const FLOOR: &str = "one echo of 64 bytes (floor)";
/// By a Unix socket and by TCP.
const OURS: [&str; 2] = ["unix.named(key).acquire()", "tcp.named(key).acquire()"];

pub(crate) fn run(pace: Pace, base: &Path) -> Vec<Report> {
    // Long enough that starting the threads of all clients is a small part of it.
    let pace = pace.with(5, pace.slice * 50);
    let mut servers = Servers::start(base, "clients");
    let mut measure = |transport| measure(pace, &mut servers, transport);
    Transport::ALL.map(&mut measure).into()
}

fn measure(pace: Pace, servers: &mut Servers, transport: Transport) -> Report {
    let echo = servers.secured_floor("echo", transport);
    let in_tasks = servers.floor("echo-in-tasks", transport);
    let mut contestants =
        vec![crowd(&Entrant::new(FLOOR, Echo(echo.clone())), |client| served(client.take()))];
    if let Some(ours) = servers.ours(transport) {
        contestants.push(crowd(&Entrant::new(OURS[transport as usize], ours.locks()), both));
    }
    contestants.push(crowd(&Entrant::new("two echoes of 64 bytes", Echo(echo)), both));
    let by_tokio = Entrant::new("one echo by tokio, one thread, without TLS", Echo(in_tasks));
    contestants.push(crowd(&by_tokio, |client| served(client.take())));
    if let Ok(redis) = &servers.redis {
        let locks = redis.locks(transport, Wait::Poll);
        contestants.push(crowd(&Entrant::new("Redis, SET NX PX and a script", locks), both));
    }
    if let Ok(postgres) = &servers.postgres {
        let locks = postgres.locks(transport);
        contestants.push(crowd(&Entrant::new("PostgreSQL, advisory lock", locks), both));
    }
    let figures = race(pace, contestants);
    Report {
        row: "server-clients",
        compares: format!(
            "{CLIENTS} clients, a connection and a key each, by {transport}: acquire and release{}",
            servers.missing(transport)
        ),
        unit: "thousand operations per second",
        figures: figures.into_iter().map(rate).collect(),
        goals: Vec::from_iter(
            servers
                .ours(transport)
                .map(|_| Goal::ratio(OURS[transport as usize], FLOOR, Bound::AtLeast(0.9))),
        ),
    }
}

fn both(client: &mut dyn Client) {
    served(client.take());
    served(client.give());
}

fn crowd(entrant: &Entrant, operation: fn(&mut dyn Client)) -> Contestant<'static> {
    let clients = (0..CLIENTS).map(|id| entrant.connect(&format!("ledger:{id}")));
    let mut clients = clients.collect::<Vec<_>>();
    Contestant::timed(entrant.name, move |times| together(&mut clients, times, operation))
}

/// Thousand operations per second.
pub(super) fn rate(figure: Figure) -> Figure {
    figure.map(|nanos| 1e6 / nanos)
}
