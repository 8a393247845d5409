//! Many processes on a few keys, with everything that can happen to them and their files, for
//! `LOCKS_TORTURE_SECONDS` (4 unless it says otherwise).

mod controls;
mod court;
mod dice;
mod disk;
mod judge;
mod life;
mod log;
mod plan;
pub(crate) mod programs;
mod storm;
mod worker;

use std::env;
use std::time::Duration;

use self::court::Failure;
use self::life::can_hide;
use self::storm::{ALONE, Storm};
use crate::means::has_own_mounts;
use crate::peer::now;

fn told_number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|told| told.parse().expect("a number"))
}

#[test]
fn c1_to_c14_nothing_gives_way_under_torture() {
    let _alone = ALONE.lock();
    let name = "torture::c1_to_c14_nothing_gives_way_under_torture";
    if !has_own_mounts(name) || !can_hide() {
        return;
    }
    let lasts = Duration::from_secs(told_number("LOCKS_TORTURE_SECONDS").unwrap_or(4));
    let seed = told_number("LOCKS_TORTURE_SEED").unwrap_or_else(now);
    let storm = Storm { lasts, seed, blows: true, defect: None };
    match storm.run() {
        Ok(report) => {
            eprintln!("torture: {report}");
            report.assert_stormy();
        }
        Err(Failure::Violation(violation)) => {
            panic!("{:?}, seed {seed}: {}", violation.wrong, violation.text)
        }
        Err(Failure::Fault(fault)) => panic!("seed {seed}: {fault}"),
    }
}
