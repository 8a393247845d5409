//! The witness notices: storms over locks that are none, and what leases excuse. (What else the
//! judge calls wrong is shown where it comes from.)

use std::time::Duration;

use super::court::Failure;
use super::judge::{Judge, Wrong};
use super::log::{Entry, Event, HoldId, Record};
use super::plan::{PLANS, Plan};
use super::storm::{ALONE, Storm};
use crate::place::Way;

#[track_caller]
fn assert_storm_shows(defect: &'static str, shows: impl Fn(Wrong) -> bool) {
    let _alone = ALONE.lock();
    let lasts = Duration::from_secs(20);
    let storm = Storm { way: Way::Unix, lasts, seed: 1, blows: false, defect: Some(defect) };
    match storm.run() {
        Err(Failure::Violation(violation)) if shows(violation.wrong) => {}
        outcome => panic!("`{defect}` is not noticed: {outcome:?}"),
    }
}

#[test]
fn locks_that_are_bypassed_are_noticed() {
    // Locks that are apart know nothing of each other's holders, tokens and thefts. Which is seen
    // first is up to chance, and any of it will do.
    assert_storm_shows("locks", |_| true);
}

#[test]
fn tokens_that_repeat_are_noticed() {
    assert_storm_shows("tokens", |wrong| wrong == Wrong::Token);
}

fn entered(life: u32, token: u64, at: u64) -> Record {
    let (hold, asked) = (HoldId { life, thread: 0, serial: 1 }, 1);
    let entry = Entry { hold, shared: false, token, asked, steals: None, least: 0, of_set: false };
    Record { at, event: Event::Entered(entry) }
}

fn left(life: u32, at: u64, lost: bool) -> Record {
    let hold = HoldId { life, thread: 0, serial: 1 };
    Record { at, event: Event::Left { hold, looked: at, lost } }
}

fn judged(leased: bool, history: &[Record]) -> Result<(), Wrong> {
    let mut judge = Judge::new(Plan { leased, ..PLANS[0] });
    history.iter().try_for_each(|record| judge.hear(*record)).map_err(|wrong| wrong.wrong)
}

#[test]
fn a_lease_that_runs_out_is_known_at_the_next_look() {
    let two = [entered(1, 5, 100), entered(2, 6, 200)];
    assert_eq!(judged(false, &two), Err(Wrong::Overlap));
    for (lost, verdict) in [(true, Ok(())), (false, Err(Wrong::Unheard))] {
        let history = [two[0], two[1], left(1, 300, lost)];
        assert_eq!(judged(true, &history), verdict);
        // It wrote down that it had come in when somebody else had followed it.
        let history = [two[1], entered(1, 5, 250), left(1, 300, lost)];
        assert_eq!(judged(true, &history), verdict);
    }
    // The one that was there last has nothing to fear.
    let history = [two[0], two[1], left(2, 300, false), left(1, 310, true)];
    assert_eq!(judged(true, &history), Ok(()));
}

/// One is stolen, looks before it has heard of that, and hears of it; so how long the next one has
/// had the key does not count from that look.
#[test]
fn the_word_of_a_theft_may_be_under_way() {
    const MS: u64 = 1_000_000;
    let thief = |record: Record, steals| match record.event {
        Event::Entered(entry) => Event::Entered(Entry { steals: Some(steals), ..entry }),
        event => event,
    };
    let second = entered(2, 6, 110 * MS);
    let history = [
        entered(1, 5, 10 * MS),
        left(1, 100 * MS, false),
        Record { event: thief(second, 20 * MS), ..second },
        left(2, 115 * MS, true),
    ];
    for (deaf, verdict) in [(0, Err(Wrong::Spurious)), (50 * MS, Ok(()))] {
        let mut judge = Judge::new(Plan { steals: true, deaf, ..PLANS[3] });
        let heard = history.iter().try_for_each(|record| judge.hear(*record));
        assert_eq!(heard.map_err(|wrong| wrong.wrong), verdict);
    }
}
