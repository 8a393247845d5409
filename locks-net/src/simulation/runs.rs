//! Many runs.

use locks_core::{ErrorKind, LostCause};

use super::plan::Plan;
use super::world::{Failure, run};
use crate::history::{Entry, What};

fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number("LOCKS_SIMULATION_SEED"), number("LOCKS_SIMULATION_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, seeds) => 0..seeds.unwrap_or(200),
    }
}

/// Says which seed it was if the code under test panics.
struct Running(u64);

impl Drop for Running {
    fn drop(&mut self) {
        assert!(!std::thread::panicking(), "in the run of LOCKS_SIMULATION_SEED={}", self.0);
    }
}

pub(super) fn run_seed(plan: Plan) -> Result<Vec<Entry>, Box<Failure>> {
    let _running = Running(plan.seed);
    run(plan)
}

#[test]
fn c1_to_c14_hold_whatever_befalls_servers_and_clients() {
    let failures = seeds().filter_map(|seed| run_seed(Plan::new(seed)).err()).collect::<Vec<_>>();
    if let Some(first) = failures.first() {
        let all = failures.iter().map(|it| format!("seed {}: {}", it.plan.seed, it.why));
        let all = all.collect::<Vec<_>>().join("\n");
        panic!("{first}\nall of those that failed:\n{all}");
    }
}

#[test]
fn c8_nothing_is_lost_where_nothing_befalls_anybody() {
    let calm = (0..1000).map(Plan::new).filter(|plan| plan.faults.is_empty()).take(10);
    for plan in calm {
        let seed = plan.seed;
        let history = run_seed(plan).unwrap_or_else(|failure| panic!("{failure}"));
        let lost = history.iter().find(|entry| match &entry.what {
            What::Lost { cause, .. } => {
                use LostCause::{Evicted, HeldTooLong, Stolen};
                !matches!(cause, Stolen | Evicted | HeldTooLong)
            }
            What::Refused { why, .. } => *why == ErrorKind::Unavailable,
            _ => false,
        });
        assert!(lost.is_none(), "seed {seed}: {}", lost.unwrap_or(&history[0]));
    }
}

#[test]
fn one_seed_is_one_run() {
    let told = |seed| match run_seed(Plan::new(seed)) {
        Ok(history) => history.iter().map(without_tokens).collect::<Vec<_>>(),
        Err(failure) => panic!("{failure}"),
    };
    for seed in 0..5 {
        let (once, again) = (told(seed), told(seed));
        let first = once.iter().zip(&again).find(|(one, other)| one != other);
        assert!(first.is_none() && once.len() == again.len(), "seed {seed}: {first:?}");
    }
}

/// Tokens are counted by a part of the registry, and which keys are in one is another thing each
/// time.
fn without_tokens(entry: &Entry) -> String {
    let text = entry.to_string();
    let mut parts = text.split("Token(");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start_matches(|it: char| it.is_ascii_digit()))
}

/// What the runs are there for happens in them.
#[test]
fn all_that_may_befall_anybody_does() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..150 {
        let history = run_seed(Plan::new(seed)).unwrap_or_else(|failure| panic!("{failure}"));
        seen.extend(history.iter().map(kind));
    }
    let wanted = [
        "confirmed",
        "contended",
        "crashed",
        "deadlock",
        "disowned",
        "evicted",
        "expired",
        "freed",
        "given up",
        "held too long",
        "permits mismatch",
        "nested",
        "over",
        "paused",
        "rebooted",
        "refreshed",
        "session ended",
        "several",
        "stands with holds",
        "stolen",
        "timeout",
        "unavailable",
    ];
    let missing = wanted.iter().filter(|kind| !seen.contains(*kind)).collect::<Vec<_>>();
    assert!(missing.is_empty(), "{missing:?}");
}

fn kind(entry: &Entry) -> &'static str {
    match &entry.what {
        What::Confirmed { .. } => "confirmed",
        What::Crashed => "crashed",
        What::Disowned { .. } => "disowned",
        What::Freed { .. } => "freed",
        What::GivenUp { .. } => "given up",
        What::Over { .. } => "over",
        What::Paused { .. } => "paused",
        What::Rebooted => "rebooted",
        What::Refreshed { .. } => "refreshed",
        What::Given { keys, .. } if keys.len() > 1 => "several",
        What::Given { keys, .. } if keys.iter().any(|(_, _, nested)| *nested) => "nested",
        What::Stands { alive } if !alive.is_empty() => "stands with holds",
        What::Refused { why, .. } => match why {
            ErrorKind::Contended => "contended",
            ErrorKind::Deadlock => "deadlock",
            ErrorKind::PermitsMismatch => "permits mismatch",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Unavailable => "unavailable",
            _ => "",
        },
        What::Lost { cause, .. } => match cause {
            LostCause::Evicted => "evicted",
            LostCause::Expired => "expired",
            LostCause::HeldTooLong => "held too long",
            LostCause::SessionEnded => "session ended",
            LostCause::Stolen => "stolen",
            _ => "",
        },
        _ => "",
    }
}
