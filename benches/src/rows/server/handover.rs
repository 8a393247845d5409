//! One key that several clients want: from a release to the next grant, and who gets how much.

use std::path::Path;
use std::time::Duration;

use locks_benches::measure::Pace;
use locks_benches::report::{Bound, Figure, Goal, Report};

use super::address::Transport;
use super::client::{Client, Entrant};
use super::crowd::shares;
use super::echo::{Echo, Relay};
use super::redis::{POLL, Wait};
use super::servers::Servers;
use super::turns::by_turns;
use crate::rows::latencies::Latencies;

const FLOOR: &str = "a relay of 64 bytes (floor)";
/// By a Unix socket and by TCP.
const OURS: [&str; 2] = ["unix.named(key).wait(…)", "tcp.named(key).wait(…)"];
const POLLER: &str = "Redis, every 100 ms";

/// How many want the key when their shares are counted.
const CROWD: usize = 8;

pub(crate) fn run(pace: Pace, base: &Path) -> Vec<Report> {
    let mut servers = Servers::start(base, "handover");
    let mut reports = Vec::new();
    for transport in Transport::ALL {
        reports.extend(latencies(pace, &mut servers, transport));
    }
    reports.push(fairness(pace, &mut servers, Transport::Unix));
    reports
}

/// Those that know how to wait, but for the floor.
fn waiters(servers: &Servers, transport: Transport) -> Vec<Entrant> {
    let ours =
        servers.ours(transport).map(|ours| Entrant::new(OURS[transport as usize], ours.locks()));
    let mut entrants = Vec::from_iter(ours);
    if let Ok(redis) = &servers.redis {
        let told = redis.locks(transport, Wait::Subscribe);
        entrants.push(Entrant::new("Redis, told by a message", told));
        let lists = redis.lists(transport);
        entrants.push(Entrant::new("Redis, BLPOP, never expires", lists));
        entrants.push(Entrant::new(POLLER, redis.locks(transport, Wait::Poll)));
    }
    if let Ok(postgres) = &servers.postgres {
        let locks = postgres.locks(transport);
        entrants.push(Entrant::new("PostgreSQL, advisory lock", locks));
    }
    entrants
}

/// Two clients of one contestant, and what they have done so far.
struct Pair {
    clients: [Box<dyn Client>; 2],
    /// How many rounds it takes part in.
    rounds: usize,
    /// How many slices a round has, and how often each client has the lock in one.
    slices: usize,
    times: usize,
    longest: Duration,
    dice: u64,
}

impl Pair {
    fn new(pace: Pace, entrant: &Entrant) -> Self {
        let clients = [entrant.connect("handed over"), entrant.connect("handed over")];
        // One that sleeps between two looks is handed the lock some time within a sleep: its holds
        // have to be as long as that, and a few of them tell as much as many.
        let (rounds, slices, times, longest) = if entrant.name == POLLER {
            (pace.rounds.min(3), 1, pace.turns.max(3), POLL)
        } else {
            (pace.rounds, pace.turns, 7, Duration::from_millis(1))
        };
        Self { clients, rounds, slices, times, longest, dice: 1 }
    }

    fn slice(&mut self) -> Latencies {
        let turns = by_turns(&mut self.clients, self.times, self.longest, &mut self.dice);
        Latencies::between(turns, 0)
    }
}

fn latencies(pace: Pace, servers: &mut Servers, transport: Transport) -> [Report; 2] {
    let relay = Relay::new(servers.floor("relay", transport));
    let mut entrants = vec![Entrant::new(FLOOR, relay)];
    entrants.extend(waiters(servers, transport));
    let mut pairs = entrants.iter().map(|entrant| Pair::new(pace, entrant)).collect::<Vec<_>>();
    let blank = || entrants.iter().map(|each| Figure::new(each.name)).collect::<Vec<_>>();
    let (mut middle, mut late) = (blank(), blank());
    for round in 0..pace.rounds {
        let mut measured = pairs.iter().map(|_| Vec::new()).collect::<Vec<Vec<f64>>>();
        for turn in 0..pace.turns {
            for step in 0..pairs.len() {
                let at = if turn % 2 == 0 { step } else { pairs.len() - 1 - step };
                if round < pairs[at].rounds && turn < pairs[at].slices {
                    measured[at].extend_from_slice(pairs[at].slice().micros());
                }
            }
        }
        for (at, measured) in measured.into_iter().enumerate() {
            if !measured.is_empty() {
                let latencies = measured.into_iter().collect::<Latencies>();
                middle[at].rounds.push(latencies.quantile(0.5));
                late[at].rounds.push(latencies.quantile(0.99));
            }
        }
    }
    let report = |what: &str, figures, goals| Report {
        row: "server-handover",
        compares: format!(
            "two clients hand one lock over, by {transport}: release to grant, {what}{}",
            servers.missing(transport)
        ),
        unit: "µs",
        figures,
        goals,
    };
    let goal = servers
        .ours(transport)
        .map(|_| Goal::ratio(OURS[transport as usize], FLOOR, Bound::AtMost(1.3)));
    [report("p50", middle, Vec::from_iter(goal)), report("p99", late, Vec::new())]
}

fn fairness(pace: Pace, servers: &mut Servers, transport: Transport) -> Report {
    let echo = servers.floor("echo", transport);
    let mut entrants = vec![Entrant::new("no lock at all, two echoes", Echo(echo))];
    entrants.extend(waiters(servers, transport));
    let crowd = |entrant: &Entrant| {
        (0..CROWD).map(|_| entrant.connect("wanted by all")).collect::<Vec<_>>()
    };
    let mut crowds = entrants.iter().map(crowd).collect::<Vec<_>>();
    let mut figures = entrants.iter().map(|each| Figure::new(each.name)).collect::<Vec<_>>();
    for round in 0..pace.rounds {
        for step in 0..crowds.len() {
            let at = if round % 2 == 0 { step } else { crowds.len() - 1 - step };
            let served = shares(&mut crowds[at], pace.slice * 250);
            let most = served.iter().max().copied().unwrap_or_default();
            let least = served.iter().min().copied().unwrap_or_default();
            figures[at].rounds.push(most as f64 / least.max(1) as f64);
        }
    }
    Report {
        row: "server-handover",
        compares: format!(
            "{CROWD} clients on one key, held for nothing, by {transport}: grants of the most \
             served{}",
            servers.missing(transport)
        ),
        unit: "× the least served",
        figures,
        goals: Vec::from_iter(
            servers
                .ours(transport)
                .map(|_| Goal::absolute(OURS[transport as usize], Bound::AtMost(1.05))),
        ),
    }
}
