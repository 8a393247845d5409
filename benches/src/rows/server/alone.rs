//! One client that nobody disturbs takes and gives one lock over and over.

use std::path::Path;
use std::time::{Duration, Instant};

use locks_benches::measure::{Contestant, Pace, race};
use locks_benches::report::{Bound, Goal, Report};

use super::address::Transport;
use super::client::{Client, Entrant};
use super::echo::Echo;
use super::redis::Wait;
use super::servers::{Servers, served};

const FLOOR: &str = "echo of 64 bytes (floor)";
const FLOORS: &str = "two echoes of 64 bytes (floor)";
/// By a Unix socket and by TCP.
const OURS: [&str; 2] = ["unix.named(key).acquire()", "tcp.named(key).acquire()"];

pub(crate) fn run(pace: Pace, base: &Path) -> Vec<Report> {
    // A round trip takes long enough for a slice to need more than two milliseconds.
    let pace = pace.with(pace.turns, pace.slice * 5);
    let mut servers = Servers::start(base, "alone");
    Transport::ALL
        .into_iter()
        .flat_map(|transport| measure(pace, &mut servers, transport))
        .collect()
}

fn measure(pace: Pace, servers: &mut Servers, transport: Transport) -> [Report; 2] {
    let entrants = entrants(servers, transport);
    let race_of = |of: fn(&str, Box<dyn Client>) -> Contestant<'static>, floor: &'static str| {
        let contestants = entrants.iter().enumerate().map(|(at, entrant)| {
            let name = if at == 0 { floor } else { entrant.name };
            of(name, entrant.connect("ledger"))
        });
        race(pace, contestants.collect())
    };
    let report = |what: &str, figures, floor: &str, most| Report {
        row: "server",
        compares: format!("one client, by {transport}: {what}{}", servers.missing(transport)),
        unit: "µs per operation",
        figures,
        goals: Vec::from_iter(
            servers
                .ours(transport)
                .map(|_| Goal::ratio(OURS[transport as usize], floor, Bound::AtMost(most))),
        ),
    };
    let micros = |figures: Vec<locks_benches::report::Figure>| {
        figures.into_iter().map(|figure| figure.map(|nanos| nanos / 1e3)).collect::<Vec<_>>()
    };
    let what = "acquire, the release done with before the next";
    let (most, most_of_both) = match transport {
        Transport::Unix => (1.05, 0.6),
        Transport::Tcp => (1.15, 0.65),
    };
    [
        report(what, micros(race_of(acquire, FLOOR)), FLOOR, most),
        report("acquire and release", micros(race_of(both, FLOORS)), FLOORS, most_of_both),
    ]
}

fn entrants(servers: &mut Servers, transport: Transport) -> Vec<Entrant> {
    let mut entrants = vec![Entrant::new(FLOOR, Echo(servers.secured_floor("echo", transport)))];
    entrants.extend(
        servers.ours(transport).map(|ours| Entrant::new(OURS[transport as usize], ours.locks())),
    );
    let in_tasks = servers.floor("echo-in-tasks", transport);
    entrants.push(Entrant::new("echo by tokio, one thread, without TLS", Echo(in_tasks)));
    if let Ok(redis) = &servers.redis {
        let locks = redis.locks(transport, Wait::Poll);
        entrants.push(Entrant::new("Redis, SET NX PX and a script", locks));
    }
    if let Ok(postgres) = &servers.postgres {
        entrants.push(Entrant::new("PostgreSQL, advisory lock", postgres.locks(transport)));
    }
    entrants
}

/// The time that `take` takes, while nothing of the hold before is under way.
fn acquire(name: &str, mut client: Box<dyn Client>) -> Contestant<'static> {
    Contestant::timed(name, move |times| {
        let mut took = Duration::ZERO;
        for _ in 0..times {
            let start = Instant::now();
            served(client.take());
            took += start.elapsed();
            served(client.give_and_wait());
        }
        took
    })
}

fn both(name: &str, mut client: Box<dyn Client>) -> Contestant<'static> {
    Contestant::repeat(name, move || {
        served(client.take());
        served(client.give());
    })
}
