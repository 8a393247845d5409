//! Processes that are really started, and really killed.

use std::process::Stdio;

use super::*;
use crate::args::{Command as Arguments, parse_from};
use crate::report::Report;

/// The arguments of a worker, a line each.
const WORKER: &str = "TRANSFERS_TEST_WORKER";

/// Not a test but what the tests start: this program, as a worker or as a server.
#[test]
fn worker() {
    let Ok(arguments) = std::env::var(WORKER) else { return };
    let parser = lexopt::Parser::from_args(arguments.lines());
    match parse_from(parser) {
        Ok(Arguments::Work { plan, directory, share }) => work(&plan, &directory, share).unwrap(),
        Ok(Arguments::Serve { directory }) => serve(&directory).unwrap(),
        _ => panic!("no arguments of a worker: {arguments}"),
    }
}

fn itself(arguments: Vec<OsString>) -> Result<Command, Failure> {
    let lines = arguments.iter().map(|line| line.to_str().expect("these are text"));
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--exact", "workers::tests::worker", "--quiet"]).stdout(Stdio::null());
    command.env(WORKER, lines.collect::<Vec<_>>().join("\n"));
    Ok(command)
}

fn report(locked: bool, kill: bool, backend: &str) -> (Report, Killed) {
    let directory = Place::new().unwrap();
    let ledger = directory.0.join("ledger.csv");
    let mut text = Vec::new();
    crate::generate::write(&mut text, 2_000, 20, 1).unwrap();
    std::fs::write(&ledger, text).unwrap();
    let backend = backend.to_owned();
    let plan = Plan { ledger, locked, threads: 4, tasks: 4, processes: 3, kill, backend };
    let ledger = Ledger::read(&plan.ledger).unwrap();
    let outcome = apply_ledger(&plan, &ledger, itself).unwrap();
    let workers = outcome.workers.iter().map(|worker| worker.killed).collect();
    let killed = Killed { workers, servers: outcome.servers_killed };
    (Report::new(&plan, &ledger, outcome), killed)
}

#[test]
fn c1_no_update_is_lost_between_processes() {
    let (report, killed) = report(true, false, "file:");
    assert!(report.is_sound(), "{report}");
    assert_eq!(killed, Killed { workers: vec![0, 0, 0], servers: 0 });
}

#[test]
fn c4_killed_workers_lose_and_double_nothing() {
    let (report, killed) = report(true, true, "file:");
    assert!(report.is_sound(), "{report}");
    assert!(killed.workers.iter().sum::<usize>() > 0 && killed.servers == 0, "{report}");
}

#[cfg(feature = "net")]
#[test]
fn n3_whoever_serves_the_others_is_killed_and_nothing_is_lost() {
    let (report, killed) = report(true, true, "net:");
    assert!(report.is_sound(), "{report}");
    assert!(killed.servers > 0, "{report}");
}

#[cfg(feature = "net")]
#[test]
fn n4_a_server_is_killed_again_and_again_and_nothing_is_lost() {
    let (report, killed) = report(true, true, "unix:");
    assert!(report.is_sound(), "{report}");
    assert!(killed.servers > 0 && killed.workers.iter().sum::<usize>() > 0, "{report}");
}

/// The tests above could not fail if this one did.
#[test]
fn updates_are_lost_between_processes_without_locks() {
    let (report, _) = report(false, false, "file:");
    assert!(!report.is_sound(), "{report}");
}
