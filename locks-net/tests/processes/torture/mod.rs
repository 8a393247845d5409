//! Many processes on a few keys of one server, with everything that can happen to them and to it,
//! for `LOCKS_TORTURE_SECONDS` (4 unless it says otherwise). What the processes do, the witness,
//! its log and its judges are those of the file backend's storm.

mod controls;
#[path = "../../../../locks-file/tests/processes/torture/court.rs"]
mod court;
#[path = "../../../../locks-file/tests/processes/torture/dice.rs"]
mod dice;
#[path = "../../../../locks-file/tests/processes/torture/disk.rs"]
mod disk;
#[path = "../../../../locks-file/tests/processes/torture/judge.rs"]
mod judge;
#[path = "../../../../locks-file/tests/processes/torture/life.rs"]
mod life;
#[path = "../../../../locks-file/tests/processes/torture/log.rs"]
mod log;
mod plan;
mod storm;
#[path = "../../../../locks-file/tests/processes/torture/worker.rs"]
mod worker;

use std::env;
use std::time::Duration;

use locks_core::Backend;

use self::court::Failure;
use self::life::can_hide;
use self::storm::{ALONE, Storm};
use crate::means::has_own_mounts;
use crate::peer::now;
use crate::place::{Told, Way};

/// The program that locks.
pub(crate) fn work() {
    worker::work(Backend::new(Told::heard().client()));
}

fn told_number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|told| told.parse().expect("a number"))
}

fn torture(way: Way, name: &str) {
    let _alone = ALONE.lock();
    let name = format!("torture::c1_to_c14_nothing_gives_way_under_torture_{name}");
    if !has_own_mounts(&name) || !can_hide() {
        return;
    }
    let lasts = Duration::from_secs(told_number("LOCKS_TORTURE_SECONDS").unwrap_or(4));
    let seed = told_number("LOCKS_TORTURE_SEED").unwrap_or_else(now);
    let storm = Storm { way, lasts, seed, blows: true, defect: None };
    match storm.run() {
        Ok(report) => {
            eprintln!("torture: {way:?}: {report}");
            report.assert_stormy();
        }
        Err(Failure::Violation(violation)) => {
            panic!("{:?}, {way:?}, seed {seed}: {}", violation.wrong, violation.text)
        }
        Err(Failure::Fault(fault)) => panic!("{way:?}, seed {seed}: {fault}"),
    }
}

#[test]
fn c1_to_c14_nothing_gives_way_under_torture_on_a_unix_socket() {
    torture(Way::Unix, "on_a_unix_socket");
}

#[test]
fn c1_to_c14_nothing_gives_way_under_torture_over_tcp() {
    torture(Way::Tcp, "over_tcp");
}

#[test]
fn c1_to_c14_nothing_gives_way_under_torture_where_processes_serve_each_other() {
    torture(Way::Machine, "where_processes_serve_each_other");
}
