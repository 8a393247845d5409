//! What becomes of holds: nests, sets, reservations (C9, C11, C14).

use super::*;

fn reserved(ledger: &Ledger) -> Vec<(String, u64, Mode)> {
    let (_, _, reserved) = ledger.clone().into_parts();
    reserved.into_iter().map(|one| (one.key, one.token.get(), one.mode)).collect()
}

fn living(ledger: &Ledger) -> Vec<u64> {
    let (_, guards, _) = ledger.clone().into_parts();
    guards.into_iter().map(|guard| guard.request).collect()
}

fn after(records: impl IntoIterator<Item = Record>) -> Ledger {
    ledger([session(1), session(2)].into_iter().chain(records))
}

#[test]
fn c14_an_early_release_leaves_a_reservation_and_a_late_one_does_not() {
    let begun = || grant(1, 1, [until(100, member("a", 7))]);
    let early = after([begun(), released(1, 1, 99)]);
    assert_eq!(reserved(&early), [("a".into(), 7, Mode::Exclusive)]);
    assert_eq!(early.records(at(99)).len(), 3);
    assert_eq!(early.records(at(100)).len(), 2, "it is over");
    assert!(reserved(&after([begun(), released(1, 1, 100)])).is_empty());
    let freed = Record::Freed { key: "a".into(), token: Token::new(7) };
    assert!(reserved(&after([begun(), released(1, 1, 99), freed])).is_empty());
}

#[test]
fn c14_a_loss_leaves_a_reservation_unless_it_was_an_eviction() {
    let begun = || grant(1, 1, [until(100, member("a", 7))]);
    assert_eq!(reserved(&after([begun(), taken(1, 1, LostCause::Expired, 50)])).len(), 1);
    assert!(reserved(&after([begun(), taken(1, 1, LostCause::Evicted, 50)])).is_empty());
}

#[test]
fn c14_what_was_done_and_then_lost_is_not_reserved_in_a_snapshot_either() {
    let begun = Member { if_done: true, ..until(100, member("a", 7)) };
    let done = after([grant(1, 1, [begun]), Record::Done { realm: 1, request: 1 }]);
    for end in [taken(1, 1, LostCause::Stolen, 50), released(1, 1, 50)] {
        let mut long = done.clone();
        let mut short = ledger(done.records(at(0)));
        let count = usize::from(matches!(end, Record::Ended { cause: None, .. }));
        for ledger in [&mut long, &mut short] {
            ledger.apply(end.clone()).unwrap();
            assert_eq!(reserved(ledger).len(), count, "{end:?}");
        }
    }
}

/// What is left of a nest begins with the first guard that is left, also where that is written
/// anew.
#[test]
fn c14_the_mark_of_the_outermost_guard_that_is_left_counts() {
    let begun = || Member { if_done: true, ..until(100, member("a", 7)) };
    let nest = |rest: &[Record]| {
        let within = Member { if_done: true, ..nested("a", 7, Mode::Exclusive) };
        let records = [grant(1, 1, [begun()]), grant(1, 2, [within])];
        after(records.into_iter().chain(rest.iter().cloned()))
    };
    let done = Record::Done { realm: 1, request: 2 };
    for (first, count) in [(None, 0), (Some(released(1, 1, 40)), 1)] {
        let mut long = nest(first.as_slice());
        let mut short = ledger(long.records(at(0)));
        for ledger in [&mut long, &mut short] {
            ledger.apply(done.clone()).unwrap();
            ledger.apply(released(1, 2, 50)).unwrap();
            ledger.apply(released(1, 1, 60)).unwrap();
            assert_eq!(reserved(ledger).len(), count, "{first:?}");
        }
    }
}

#[test]
fn c14_a_nest_whose_outer_guard_goes_first_is_one_hold_until_the_last() {
    let begun = [
        grant(1, 1, [until(100, member("a", 7))]),
        grant(1, 2, [nested("a", 7, Mode::Shared)]),
        released(1, 1, 20),
    ];
    let nest = after(begun.clone());
    assert_eq!((living(&nest), reserved(&nest)), (vec![2], vec![]));
    let (_, guards, _) = nest.into_parts();
    assert_eq!(guards[0].members[0].reserved_until, Some(at(100)), "the hold's, not the guard's");
    assert!(!guards[0].members[0].nested, "in nothing that is left");
    let over = after(begun.into_iter().chain([released(1, 2, 30)]));
    assert_eq!(reserved(&over), [("a".into(), 7, Mode::Shared)]);
}

#[test]
fn c9_a_hold_that_is_taken_away_takes_along_what_is_nested_in_it() {
    let begun = || {
        [
            grant(1, 1, [until(100, member("a", 7))]),
            grant(2, 2, [nested("a", 7, Mode::Shared), member("b", 8)]),
            grant(2, 3, [nested("b", 8, Mode::Shared)]),
        ]
    };
    // Also where the server died before it had written the rest.
    let torn = after(begun().into_iter().chain([taken(1, 1, LostCause::Stolen, 50)]));
    assert!(living(&torn).is_empty());
    assert_eq!(reserved(&torn), [("a".into(), 7, Mode::Exclusive)]);
    let rest = [taken(2, 2, LostCause::Stolen, 50), taken(2, 3, LostCause::Stolen, 50)];
    let whole = after(begun().into_iter().chain([taken(1, 1, LostCause::Stolen, 50)]).chain(rest));
    assert_eq!(state(&torn), state(&whole));
}

#[test]
fn c9_a_nested_guard_that_is_lost_says_nothing_of_the_one_around_it() {
    let begun = [grant(1, 1, [member("a", 7)]), grant(1, 2, [nested("a", 7, Mode::Shared)])];
    let nest = after(begun.into_iter().chain([taken(1, 2, LostCause::Expired, 50)]));
    assert_eq!(living(&nest), [1]);
}

#[test]
fn c9_a_nested_guard_that_is_given_back_leaves_the_hold_to_the_others() {
    let nest = after([
        grant(1, 1, [member("a", 7)]),
        grant(1, 2, [nested("a", 7, Mode::Exclusive)]),
        grant(1, 3, [nested("a", 7, Mode::Exclusive)]),
        released(1, 2, 50),
    ]);
    assert_eq!(living(&nest), [1, 3]);
}

#[test]
fn c14_a_hold_that_is_taken_away_is_reserved_as_it_was_held() {
    let begun = [
        grant(1, 1, [until(100, Member { mode: Mode::Shared, ..member("a", 7) })]),
        grant(1, 2, [Member { token: Token::new(8), ..nested("a", 7, Mode::Exclusive) }]),
        grant(1, 3, [nested("a", 7, Mode::Shared)]),
    ];
    let exclusive = [("a".to_owned(), 7, Mode::Exclusive)];
    for order in [[1, 2, 3], [3, 2, 1], [2, 1, 3]] {
        let ends = order.map(|request| taken(1, request, LostCause::Stolen, 50));
        assert_eq!(reserved(&after(begun.iter().cloned().chain(ends))), exclusive, "{order:?}");
    }
    // The first guard is gone by then.
    let ends = [
        released(1, 1, 20),
        taken(1, 2, LostCause::Stolen, 50),
        taken(1, 3, LostCause::Stolen, 50),
    ];
    assert_eq!(reserved(&after(begun.into_iter().chain(ends))), exclusive);
}

#[test]
fn c14_a_guard_that_was_lost_before_does_not_count_for_what_is_reserved() {
    let ledger = after([
        grant(1, 1, [until(100, Member { mode: Mode::Shared, ..member("a", 7) })]),
        // By another of its keys.
        grant(1, 2, [Member { token: Token::new(8), ..nested("a", 7, Mode::Exclusive) }]),
        taken(1, 2, LostCause::Stolen, 50),
        taken(1, 1, LostCause::Stolen, 60),
    ]);
    assert_eq!(reserved(&ledger), [("a".into(), 7, Mode::Shared)]);
}

#[test]
fn c11_the_loss_of_a_set_leaves_the_hold_that_one_of_its_keys_was_nested_in() {
    let ledger = after([
        grant(1, 1, [member("a", 7)]),
        grant(
            1,
            2,
            [
                Member { token: Token::new(8), ..nested("a", 7, Mode::Exclusive) },
                until(100, member("b", 8)),
            ],
        ),
        grant(1, 3, [nested("a", 7, Mode::Exclusive)]),
        // It does not matter any more in which it was nested.
        released(1, 1, 40),
        taken(1, 2, LostCause::Stolen, 50),
    ]);
    assert_eq!(living(&ledger), [3]);
    assert_eq!(reserved(&ledger), [("b".into(), 8, Mode::Exclusive)]);
}

#[test]
fn c6_a_refreshed_hold_ages_from_then() {
    let ledger = after([
        grant(1, 1, [member("a", 7), member("b", 7)]),
        grant(1, 2, [nested("a", 7, Mode::Exclusive)]),
        Record::Refreshed { realm: 1, request: 2, at: at(500) },
    ]);
    let (_, guards, _) = ledger.into_parts();
    let since = |guard: usize, member: usize| guards[guard].members[member].since;
    assert_eq!(
        (since(0, 0), since(0, 1), since(1, 0)),
        (Some(at(500)), Some(at(7)), Some(at(500)))
    );
}

#[test]
fn c9_only_what_a_thread_holds_is_disowned() {
    let scope = Member { owner: OwnerId::from_parts(1, 2, 3), ..member("b", 8) };
    let ledger = after([
        grant(1, 1, [member("a", 7)]),
        grant(1, 2, [scope]),
        Record::Disowned { realm: 1, request: 1 },
        Record::Disowned { realm: 1, request: 2 },
    ]);
    let (_, guards, _) = ledger.into_parts();
    assert_eq!(guards[0].members[0].owner, None);
    assert_eq!(guards[1].members[0].owner, OwnerId::from_parts(1, 2, 3));
}

/// FAULTS 14.
#[test]
fn n4_what_ended_just_before_the_crash_stays_ended() {
    let ledger = after([
        grant(1, 1, [member("a", 7)]),
        grant(1, 2, [member("b", 8)]),
        grant(1, 3, [member("c", 9)]),
        grant(1, 4, [member("d", 10)]),
        taken(1, 1, LostCause::Stolen, 50),
        grant(2, 1, [member("a", 11)]),
        released(1, 2, 51),
        taken(1, 3, LostCause::Evicted, 52),
        released(1, 3, 53),
    ]);
    let (_, guards, _) = ledger.into_parts();
    let guards: Vec<_> = guards.iter().map(|guard| (guard.realm, guard.request)).collect();
    assert_eq!(guards, [(1, 4), (2, 1)]);
}

#[test]
fn c7_a_ledger_knows_the_greatest_token_also_of_what_is_over() {
    let greatest = |records: Vec<Record>| after(records).greatest_token().get();
    let upgrade = Member { token: Token::new(9), ..nested("a", 7, Mode::Exclusive) };
    assert_eq!(greatest(vec![]), 0);
    let over = vec![grant(1, 1, [member("a", 7)]), grant(1, 2, [upgrade]), released(1, 2, 3)];
    assert_eq!(greatest(over), 9);
    let (key, mode, until) = ("r".to_owned(), Mode::Shared, at(1));
    assert_eq!(
        greatest(vec![Record::Reserved(Reserved { key, mode, token: Token::new(11), until })]),
        11
    );
}
