//! Processes that hand one lock to and fro, each ready to wait for so long and no longer.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use locks_benches::measure::Pace;
use locks_benches::report::{Bound, Figure, Goal, Report};

use super::child::{COMMAND, Part};
use super::contestant::Who;
use super::crowd::hand_over;
use super::python::Python;
use crate::rows::latencies::Latencies;
use crate::rows::place::Place;

const FLOOR: &str = "flock, no timeout (floor)";
const OURS: &str = "file.named(key).wait(…)";
const POLLER: &str = "std's try_lock, every 10 ms";
const FLOOR_P50: &str = "flock, no timeout, p50 (floor)";

pub(crate) fn run(pace: Pace, base: &Path) -> Vec<Report> {
    let place = Place::new(base, "processes");
    let python = Python::find();
    [2, 4].into_iter().flat_map(|processes| measure(pace, &place, &python, processes)).collect()
}

/// One that takes part.
struct Entrant<'a> {
    name: String,
    command: Box<dyn Fn() -> Command + 'a>,
    rounds: usize,
    grants: usize,
    hold: Duration,
}

fn measure(
    pace: Pace,
    place: &Place,
    python: &Result<Python, String>,
    processes: u64,
) -> [Report; 2] {
    let entrants = entrants(pace, place, python);
    let blank = || entrants.iter().map(|each| Figure::new(&each.name)).collect::<Vec<_>>();
    let (mut middle, mut late) = (blank(), blank());
    for round in 0..pace.rounds {
        for step in 0..entrants.len() {
            let at = if round % 2 == 0 { step } else { entrants.len() - 1 - step };
            if round >= entrants[at].rounds {
                continue;
            }
            let latencies = entrants[at].run(place, processes);
            middle[at].rounds.push(latencies.quantile(0.5));
            late[at].rounds.push(latencies.quantile(0.99));
        }
    }
    // The kernel's median is the measure for both tables.
    late.insert(0, Figure { name: FLOOR_P50.to_owned(), rounds: middle[0].rounds.clone() });
    let python =
        python.as_ref().map_or_else(|why| format!("; no Python: {why}"), |_| String::new());
    let report = |what: &str, figures, against, most| Report {
        row: "file-processes",
        compares: format!(
            "{processes} processes hand one lock over, in {}: release to grant, {what}{python}",
            place.described()
        ),
        unit: "µs",
        figures,
        goals: vec![Goal::ratio(OURS, against, Bound::AtMost(most))],
    };
    [report("p50", middle, FLOOR, 2.0), report("p99", late, FLOOR_P50, 5.0)]
}

fn entrants<'a>(
    pace: Pace,
    place: &'a Place,
    python: &'a Result<Python, String>,
) -> Vec<Entrant<'a>> {
    let itself = |who| move || itself(who, place.path());
    let quick = |name: &str, who| Entrant {
        name: name.to_owned(),
        command: Box::new(itself(who)),
        rounds: pace.rounds,
        grants: pace.turns * 14,
        hold: Duration::from_millis(4),
    };
    // One that sleeps between two looks is handed the lock some time within a sleep: its holds
    // have to be as long as that, and a few of them tell as much as many.
    let slow = |name: String, command, hold| Entrant {
        name,
        command,
        rounds: pace.rounds.min(3),
        grants: pace.turns.max(10),
        hold,
    };
    let mut entrants = vec![
        quick(FLOOR, Who::Kernel),
        quick(OURS, Who::Ours),
        slow(POLLER.to_owned(), Box::new(itself(Who::Poller)), super::contestant::POLL),
    ];
    if let Ok(python) = python {
        entrants.extend(python.peers().map(|peer| {
            let command = Box::new(move || python.hand_over(peer, place.path()));
            slow(format!("Python's {}", peer.name), command, peer.poll)
        }));
    }
    entrants
}

/// This program, as one that takes turns.
fn itself(who: Who, directory: &Path) -> Command {
    let this = std::env::current_exe().expect("a running program has a path");
    let mut command = Command::new(this);
    let (_, name) = Who::ALL.into_iter().find(|(each, _)| *each == who).expect("all are there");
    command.arg(COMMAND).arg(name).arg(directory);
    command
}

impl Entrant<'_> {
    fn run(&self, place: &Place, processes: u64) -> Latencies {
        let part = Part {
            board: place.path().join("board"),
            process: 0,
            processes,
            grants: self.grants as u64 + processes * 2,
            hold: self.hold,
        };
        hand_over(place.path(), part, &self.command)
    }
}
