//! The witness notices: storms over locks that are none, and histories made up by hand.

use std::time::Duration;

use super::court::Failure;
use super::judge::{Judge, Wrong};
use super::log::{Entry, Event, HoldId, Record};
use super::plan::{PLANS, Plan};
use super::storm::{ALONE, Storm};

const MILLI: u64 = 1_000_000;

#[track_caller]
fn assert_storm_shows(defect: &'static str, shows: impl Fn(Wrong) -> bool) {
    let _alone = ALONE.lock();
    let lasts = Duration::from_secs(20);
    let storm = Storm { lasts, seed: 1, blows: false, defect: Some(defect) };
    match storm.run() {
        Err(Failure::Violation(violation)) if shows(violation.wrong) => {}
        outcome => panic!("`{defect}` is not noticed: {outcome:?}"),
    }
}

#[test]
fn locks_that_are_bypassed_are_noticed() {
    // Locks that are apart know nothing of each other's holders, tokens, thefts and reservations.
    // Which of that is seen first is up to chance, and any of it will do.
    assert_storm_shows("locks", |_| true);
}

#[test]
fn tokens_that_repeat_are_noticed() {
    assert_storm_shows("tokens", |wrong| wrong == Wrong::Token);
}

fn plan(key: &str) -> Plan {
    *PLANS.iter().find(|plan| plan.key == key).unwrap()
}

fn hold(life: u32) -> HoldId {
    HoldId { life, thread: 0, serial: 1 }
}

/// One that asked for an exclusive lock a millisecond before it entered.
fn entry(life: u32, token: u64, at: u64) -> Entry {
    let asked = at - MILLI;
    Entry { hold: hold(life), shared: false, token, asked, steals: None, least: 0, of_set: false }
}

fn entered(life: u32, token: u64, at: u64) -> Record {
    Record { at, event: Event::Entered(entry(life, token, at)) }
}

fn steals(life: u32, token: u64, at: u64, age: u64) -> Record {
    let entry = Entry { steals: Some(age), ..entry(life, token, at) };
    Record { at, event: Event::Entered(entry) }
}

fn reads(life: u32, token: u64, at: u64) -> Record {
    Record { at, event: Event::Entered(Entry { shared: true, ..entry(life, token, at) }) }
}

fn left(life: u32, at: u64, lost: bool) -> [Record; 2] {
    let hold = hold(life);
    [
        Record { at, event: Event::Left { hold, looked: at, lost } },
        Record { at, event: Event::Released { hold, lost } },
    ]
}

/// What the judge of a key says of a history.
fn judged(key: &str, history: impl IntoIterator<Item = Record>) -> Result<(), Wrong> {
    let mut judge = Judge::new(plan(key));
    history.into_iter().try_for_each(|record| judge.hear(record)).map_err(|wrong| wrong.wrong)
}

#[test]
fn one_after_the_other_is_well() {
    let [l1, r1] = left(1, 12 * MILLI, false);
    let history = [entered(1, 5, 10 * MILLI), l1, r1, entered(2, 6, 13 * MILLI)];
    assert_eq!(judged("strict-0", history), Ok(()));
    let readers = [reads(1, 6, 10 * MILLI), reads(2, 5, 11 * MILLI), reads(3, 7, 12 * MILLI)];
    assert_eq!(judged("strict-0", readers), Ok(()));
}

#[test]
fn overlaps_are_noticed() {
    let two = [entered(1, 5, 10 * MILLI), entered(2, 6, 11 * MILLI)];
    for key in ["strict-0", "stolen-0", "deleted", "mixed", "reserved"] {
        assert_eq!(judged(key, two), Err(Wrong::Overlap), "{key}");
    }
    let reader = [reads(1, 5, 10 * MILLI), entered(2, 6, 11 * MILLI)];
    assert_eq!(judged("strict-0", reader), Err(Wrong::Overlap));
    let reader = [entered(1, 5, 10 * MILLI), reads(2, 6, 11 * MILLI)];
    assert_eq!(judged("strict-0", reader), Err(Wrong::Overlap));
    let outsider = [entered(1, 5, 10 * MILLI), entered(2, 0, 11 * MILLI)];
    assert_eq!(judged("strict-1", outsider), Err(Wrong::Overlap));
}

#[test]
fn tokens_that_go_back_are_noticed() {
    let [l1, r1] = left(1, 12 * MILLI, false);
    for token in [4, 5] {
        for key in ["strict-0", "stolen-0", "deleted", "mixed"] {
            let history = [entered(1, 5, 10 * MILLI), l1, r1, entered(2, token, 15 * MILLI)];
            assert_eq!(judged(key, history), Err(Wrong::Token), "{key}");
        }
    }
    let readers = [reads(1, 5, 10 * MILLI), reads(2, 5, 10 * MILLI)];
    assert_eq!(judged("strict-0", readers), Err(Wrong::Token));
}

#[test]
fn who_is_being_killed_is_not_inside() {
    let killing = Record { at: 11 * MILLI, event: Event::Killing { life: 1 } };
    let history = [entered(1, 5, 10 * MILLI), killing, entered(2, 6, 12 * MILLI)];
    assert_eq!(judged("strict-0", history), Ok(()));
    let last_breath = [killing, entered(1, 5, 11 * MILLI), entered(2, 6, 12 * MILLI)];
    assert_eq!(judged("strict-0", last_breath), Ok(()));
    // Another is.
    let killing = Record { at: 11 * MILLI, event: Event::Killing { life: 3 } };
    let history = [entered(1, 5, 10 * MILLI), killing, entered(2, 6, 12 * MILLI)];
    assert_eq!(judged("strict-0", history), Err(Wrong::Overlap));
}

#[test]
fn a_victim_has_to_find_out() {
    let stolen = [entered(1, 5, 10 * MILLI), steals(2, 6, 40 * MILLI, 20 * MILLI)];
    for (told, verdict) in [(true, Ok(())), (false, Err(Wrong::Unheard))] {
        let end = left(1, 45 * MILLI, told);
        assert_eq!(judged("stolen-0", stolen.into_iter().chain(end)), verdict);
    }
    let deleting = Record { at: 11 * MILLI, event: Event::Deleting };
    let deleted = Record { at: 12 * MILLI, event: Event::Deleted };
    let rival = [entered(1, 5, 10 * MILLI), deleting, deleted, entered(2, 6, 14 * MILLI)];
    for (told, verdict) in [(true, Ok(())), (false, Err(Wrong::Unheard))] {
        let end = left(1, 45 * MILLI, told);
        assert_eq!(judged("deleted", rival.into_iter().chain(end)), verdict);
    }
    // Who comes after the thief is beside the victim as well, until it finds out.
    let [l2, r2] = left(2, 42 * MILLI, false);
    let next = [l2, r2, entered(3, 7, 44 * MILLI)];
    let history = stolen.into_iter().chain(next).chain(left(1, 45 * MILLI, true));
    assert_eq!(judged("stolen-0", history), Ok(()));
}

#[test]
fn a_victim_may_come_in_after_its_thief_has_gone() {
    let late = Record { at: 46 * MILLI, event: Event::Entered(entry(1, 5, 10 * MILLI)) };
    for (stolen_at, told, verdict) in [
        (40 * MILLI, true, Ok(())),
        (40 * MILLI, false, Err(Wrong::Unheard)),
        // Too early to be stolen.
        (15 * MILLI, true, Err(Wrong::Overlap)),
    ] {
        let [l2, r2] = left(2, 42 * MILLI, false);
        let thief = [steals(2, 6, stolen_at, 20 * MILLI), l2, r2, entered(3, 7, 44 * MILLI), late];
        let history = thief.into_iter().chain(left(1, 47 * MILLI, told));
        assert_eq!(judged("stolen-0", history), verdict, "{stolen_at} {told}");
    }
}

#[test]
fn excuses_are_looked_into() {
    // Too young.
    let early = [entered(1, 5, 10 * MILLI), steals(2, 6, 15 * MILLI, 20 * MILLI)];
    assert_eq!(judged("stolen-0", early), Err(Wrong::Early));
    // It asked long ago, but was not granted before another had gone.
    let [l9, r9] = left(9, 38 * MILLI, false);
    let waited = Entry { asked: 12 * MILLI, ..entry(1, 5, 40 * MILLI) };
    let waited = Record { at: 40 * MILLI, event: Event::Entered(waited) };
    let thief = steals(2, 6, 50 * MILLI, 20 * MILLI);
    let early = [entered(9, 4, 10 * MILLI), l9, r9, waited, thief];
    assert_eq!(judged("stolen-0", early), Err(Wrong::Early));
    // On a key that nobody steals.
    let strict = [entered(1, 5, 10 * MILLI), steals(2, 6, 60 * MILLI, 20 * MILLI)];
    assert_eq!(judged("strict-0", strict), Err(Wrong::Overlap));
    // Deleted before it was asked for.
    let deleting = Record { at: 2 * MILLI, event: Event::Deleting };
    let deleted = Record { at: 3 * MILLI, event: Event::Deleted };
    let rival = [deleting, deleted, entered(1, 5, 10 * MILLI), entered(2, 6, 14 * MILLI)];
    assert_eq!(judged("deleted", rival), Err(Wrong::Overlap));
    // The thief has the smaller token: it is the one that was there before.
    let backwards = [entered(1, 6, 10 * MILLI), steals(2, 5, 40 * MILLI, 20 * MILLI)];
    assert!(judged("stolen-0", backwards).is_err());
}

/// A thief that is killed, or gives up, after the theft and before it has written anything down.
#[test]
fn thieves_that_are_not_seen_are_thought_of() {
    let tries = |at| Record { at, event: Event::Tries { hold: hold(2), steals: 20 * MILLI } };
    let withdrew = |at| Record { at, event: Event::Withdrew { hold: hold(2) } };
    let killing = |at| Record { at, event: Event::Killing { life: 2 } };
    let (victim, next) = (entered(1, 5, 10 * MILLI), entered(3, 7, 50 * MILLI));
    let lost = left(1, 60 * MILLI, true);
    for ends in [withdrew, killing] as [fn(u64) -> Record; 2] {
        let history = [victim, tries(12 * MILLI), ends(35 * MILLI), next];
        assert_eq!(judged("stolen-0", history.into_iter().chain(lost)), Ok(()));
        assert_eq!(judged("strict-0", history), Err(Wrong::Overlap));
    }
    // It comes in with its last breath.
    let history =
        [victim, tries(12 * MILLI), killing(35 * MILLI), steals(2, 6, 36 * MILLI, 20 * MILLI)];
    assert_eq!(judged("stolen-0", history.into_iter().chain([next]).chain(lost)), Ok(()));
    // Over before the victim was old enough.
    let early = [victim, tries(12 * MILLI), withdrew(28 * MILLI), next];
    assert_eq!(judged("stolen-0", early), Err(Wrong::Overlap));
    // One that has entered is no such thief any more.
    let [l2, r2] = left(2, 8 * MILLI, false);
    let others = [tries(5 * MILLI), entered(2, 4, 6 * MILLI), l2, r2, victim, next];
    assert_eq!(judged("stolen-0", others), Err(Wrong::Overlap));
}

#[test]
fn a_withdrawal_is_heard_of_late_by_a_server_that_stood_still_and_by_nobody_else() {
    let history = |withdrew| {
        let of = |at, event| Record { at, event };
        let tries = of(12 * MILLI, Event::Tries { hold: hold(2), steals: 20 * MILLI });
        let withdrew = of(withdrew, Event::Withdrew { hold: hold(2) });
        [entered(1, 5, 10 * MILLI), tries, withdrew, entered(3, 7, 50 * MILLI)]
    };
    for (deaf, withdrew, verdict) in [
        (0, 28 * MILLI, Err(Wrong::Overlap)),
        (5 * MILLI, 28 * MILLI, Ok(())),
        (5 * MILLI, 20 * MILLI, Err(Wrong::Overlap)),
    ] {
        let mut judge = Judge::new(Plan { deaf, ..plan("stolen-0") });
        let judged = history(withdrew).into_iter().try_for_each(|record| judge.hear(record));
        assert_eq!(judged.map_err(|wrong| wrong.wrong), verdict, "{deaf}, {withdrew}");
    }
}

#[test]
fn losses_that_nobody_caused_are_noticed() {
    for (key, at, verdict) in [
        ("strict-0", 60 * MILLI, Err(Wrong::Spurious)),
        ("deleted", 60 * MILLI, Err(Wrong::Spurious)),
        ("stolen-0", 12 * MILLI, Err(Wrong::Spurious)),
        ("stolen-0", 60 * MILLI, Ok(())),
    ] {
        let history = [entered(1, 5, 10 * MILLI)].into_iter().chain(left(1, at, true));
        assert_eq!(judged(key, history), verdict, "{key} at {at}");
    }
}

#[test]
fn reservations_that_are_not_kept_are_noticed() {
    let reserving = Entry { least: 8 * MILLI, ..entry(1, 5, 10 * MILLI) };
    let reserving = Record { at: 10 * MILLI, event: Event::Entered(reserving) };
    let [l1, r1] = left(1, 11 * MILLI, false);
    for (at, verdict) in [(12 * MILLI, Err(Wrong::Reserved)), (18 * MILLI, Ok(()))] {
        let history = [reserving, l1, r1, entered(2, 6, at)];
        assert_eq!(judged("reserved", history), verdict);
    }
}
