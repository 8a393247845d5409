//! Mistakes that have to be found, each within so many seeds.

use super::Bug;
use super::plan::{Plan, PlannedFault};
use super::runs::run_seed;

/// Runs with the mistake and with these faults until it is found by a broken promise that says one
/// of `signs`.
#[track_caller]
fn is_found(bug: Bug, faults: &[PlannedFault], seeds: u64, signs: &[&str]) {
    for seed in 0..seeds {
        let mut plan = Plan::new(seed);
        plan.bug = Some(bug);
        plan.faults = faults.to_vec();
        if let Err(failure) = run_seed(plan) {
            let known = signs.iter().any(|sign| failure.why.contains(sign));
            assert!(known, "{failure}");
            return;
        }
    }
    panic!("{seeds} runs with {bug:?}, and nothing was found");
}

#[test]
fn a_grant_that_is_not_written_down_is_found() {
    is_found(Bug::GrantNotWritten, &[PlannedFault::Crash], 5, &["not written down"]);
}

#[test]
fn an_end_that_is_not_written_down_is_found() {
    let signs =
        ["both hold", "not written down", "granted twice", "does not start", "refused", "hears of"];
    is_found(Bug::EndNotWritten, &[PlannedFault::Crash], 50, &signs);
}

#[test]
fn telling_before_writing_is_found() {
    let signs = ["not written down", "both hold", "hears of"];
    is_found(Bug::ToldBeforeWritten, &[PlannedFault::Crash], 200, &signs);
}

#[test]
fn tokens_that_begin_anew_are_found() {
    is_found(Bug::FloorForgotten, &[PlannedFault::Reboot], 20, &["gets Token"]);
}

#[test]
fn expiry_before_reading_is_found() {
    let faults = [PlannedFault::StopServer, PlannedFault::Suspend];
    is_found(Bug::ExpiredUnread, &faults, 100, &["been silent for"]);
}

#[test]
fn a_release_by_key_is_found() {
    is_found(Bug::ReleasedByKey, &[], 50, &["by nobody", "both hold"]);
}

#[test]
fn frames_that_are_applied_twice_are_found() {
    let signs = ["never come to an end", "granted twice", "was held", "comes to a second end"];
    is_found(Bug::AppliedTwice, &[PlannedFault::Cut], 50, &signs);
}

#[test]
fn validity_that_counts_from_the_reply_is_found() {
    let faults = [PlannedFault::Partition, PlannedFault::HalfOpen];
    is_found(Bug::ValidFromReply, &faults, 3000, &["both hold", "more than its lease ago"]);
}

#[test]
fn an_acquisition_that_is_not_withdrawn_is_found() {
    let signs = ["never come to an end", "held in the end"];
    is_found(Bug::NotWithdrawn, &[], 20, &signs);
}
