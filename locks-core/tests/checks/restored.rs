//! Grants put back by their records (C7, C9, C11, C14).

use std::task::Poll;
use std::time::Duration;

use locks_core::{
    CallSite, Caller, Clock, Engine, ErrorKind, Hold, HoldRecord, KeySet, Keys, LockError,
    LostCause, ManualClock, Mode, Options, OwnerId, Query, Request, Token, Wait,
};

use crate::polled::{Polled, engine};
use crate::table::behind;

const SECOND: Duration = Duration::from_secs(1);

/// What a reader asks for.
fn shared(options: &mut Options) {
    options.mode = Mode::Shared;
}

fn again(options: &mut Options) {
    options.reentrant = true;
}

fn plain(_: &mut Options) {}

fn ask(
    engine: &Engine,
    keys: &[&str],
    owner: u64,
    change: impl Fn(&mut Options),
) -> Result<Hold, LockError> {
    let mut options = Options::default();
    options.wait = Some(Wait::Try);
    change(&mut options);
    let owner = OwnerId::from_parts(1, 1, owner).unwrap();
    let caller = Caller::named(owner).at(CallSite::interned("src/pay.rs:88").unwrap());
    let keys = KeySet::new(keys.iter().copied());
    let asked = engine.acquire(Request::new(Keys::all(&keys), options, caller)).block();
    asked.map(|granted| granted.hold)
}

fn take(engine: &Engine, keys: &[&str], owner: u64, change: impl Fn(&mut Options)) -> Hold {
    ask(engine, keys, owner, change).unwrap_or_else(|error| panic!("refused: {error}"))
}

fn fresh(clock: &ManualClock) -> Engine {
    Engine::builder().clock(std::sync::Arc::new(clock.clone())).build()
}

fn token(number: u64) -> Token {
    Token::new(number)
}

fn record(key: &str, number: u64, mode: Mode, clock: &ManualClock) -> HoldRecord {
    HoldRecord {
        if_done: false,
        is_done: false,
        key: key.to_owned(),
        token: token(number),
        outer: token(number),
        nested: false,
        mode,
        label: None,
        runs_as: None,
        owner: None,
        site: None,
        since: Some(clock.now()),
        reserved_until: None,
        ends_at: None,
    }
}

fn shown(engine: &Engine) -> String {
    format!(
        "{:?}",
        engine
            .inspect(Query::All)
            .block()
            .unwrap()
            .into_iter()
            .map(|mut info| {
                info.at = std::time::UNIX_EPOCH;
                info
            })
            .collect::<Vec<_>>()
    )
}

#[test]
fn c7_a_grant_is_put_back_as_it_was_and_later_tokens_are_greater() {
    let (engine, _, clock) = engine();
    let options = |options: &mut Options| {
        options.hold_at_least = Some(SECOND * 3);
        options.hold_at_most = Some(SECOND * 9);
    };
    let plainly = take(&engine, &["a"], 1, plain);
    let bounded = take(&engine, &["b"], 2, options);
    let set = take(&engine, &["c", "d"], 3, shared);
    clock.advance(SECOND);
    let copy = fresh(&clock);
    let restored = [&plainly, &bounded, &set].map(|hold| {
        let records = engine.record(hold);
        let restored = copy.restore(&records).unwrap();
        assert_eq!(format!("{:?}", copy.record(&restored)), format!("{records:?}"));
        restored
    });
    assert_eq!(shown(&copy), shown(&engine));
    for hold in restored {
        let last = hold.token();
        let keys = copy.record(&hold).into_iter().map(|record| record.key).collect::<Vec<_>>();
        let token = copy.evict(&keys[0], last).block().unwrap();
        assert!(token, "it is known by its token");
        for key in keys {
            assert!(take(&copy, &[&key], 4, plain).token() > last);
        }
    }
}

#[test]
fn c9_a_nest_is_put_back_from_the_outside_in() {
    let (engine, _, clock) = engine();
    let outer = take(&engine, &["k"], 1, shared);
    let inner = take(&engine, &["k"], 1, |options| (shared(options), again(options)).1);
    let upgraded = take(&engine, &["k"], 1, again);
    let records = [&outer, &inner, &upgraded].map(|hold| engine.record(hold));
    let short = records.each_ref().map(|records| {
        let [record] = &records[..] else { panic!("one key") };
        (record.nested, record.token, record.outer, record.mode)
    });
    let (first, last) = (outer.token(), upgraded.token());
    assert!(first < last);
    let expected = [
        (false, first, first, Mode::Shared),
        (true, first, first, Mode::Shared),
        (true, last, first, Mode::Exclusive),
    ];
    assert_eq!(short, expected);
    let copy = fresh(&clock);
    let error = copy.restore(&records[1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost { cause: LostCause::Forgotten });
    assert_eq!(copy.live_keys(), 0, "nothing came of it");
    let [outer, inner, upgraded] = records.map(|records| copy.restore(&records).unwrap());
    assert_eq!(shown(&copy), shown(&engine));
    // The upgrade ends first: then others may read along, and not before.
    assert!(ask(&copy, &["k"], 2, shared).is_err());
    copy.release(upgraded).block().unwrap();
    let reader = take(&copy, &["k"], 2, shared);
    assert!(reader.token() > last);
    copy.release(outer).block().unwrap();
    // What has outlived the guard around it is put back by itself.
    let records = copy.record(&inner);
    assert!(!records[0].nested && records[0].token == first);
    let third = fresh(&clock);
    let alone = third.restore(&records).unwrap();
    assert!(ask(&third, &["k"], 2, plain).is_err());
    third.release(alone).block().unwrap();
    assert_eq!(third.live_keys(), 0);
    copy.release(inner).block().unwrap();
    copy.release(reader).block().unwrap();
    assert_eq!(copy.live_keys(), 0);
}

#[test]
fn c9_an_upgrade_that_outlives_the_guard_around_it_is_known_by_both_tokens() {
    let (engine, _, clock) = engine();
    let outer = take(&engine, &["k"], 1, shared);
    let upgraded = take(&engine, &["k"], 1, again);
    let first = outer.token();
    engine.release(outer).block().unwrap();
    let copy = fresh(&clock);
    let restored = copy.restore(&engine.record(&upgraded)).unwrap();
    assert_eq!(shown(&copy), shown(&engine));
    assert_eq!(restored.token(), upgraded.token());
    assert!(copy.lose("k", first, LostCause::SessionEnded));
    assert!(copy.record(&restored).is_empty(), "it is lost");
}

#[test]
fn c9_an_upgrade_is_not_put_back_beside_another_reader() {
    let (engine, _, clock) = engine();
    let outer = record("k", 5, Mode::Shared, &clock);
    let reader = record("k", 6, Mode::Shared, &clock);
    let upgrade =
        HoldRecord { outer: token(5), nested: true, ..record("k", 7, Mode::Exclusive, &clock) };
    let _outer = engine.restore(&[outer]).unwrap();
    let reader = engine.restore(&[reader]).unwrap();
    let kind =
        |record: &HoldRecord| engine.restore(std::slice::from_ref(record)).map_err(|e| e.kind());
    assert_eq!(kind(&upgrade).unwrap_err(), ErrorKind::Contended);
    engine.release(reader).block().unwrap();
    assert_eq!(kind(&upgrade).unwrap().token(), token(7));
}

#[test]
fn c11_a_member_that_stands_in_another_hold_does_not_break_its_set() {
    let (engine, _, clock) = engine();
    let a = HoldRecord { outer: token(5), ..record("a", 9, Mode::Shared, &clock) };
    let c = record("c", 9, Mode::Shared, &clock);
    let set = engine.restore(&[a, c]).unwrap();
    // Somebody else, whose token happens to be that of the other hold.
    let other = engine.restore(&[record("c", 5, Mode::Shared, &clock)]).unwrap();
    assert!(engine.lose("a", token(5), LostCause::Evicted));
    assert_eq!((engine.record(&set).len(), engine.record(&other).len()), (0, 1));
}

#[test]
fn c11_a_set_is_put_back_as_one_or_not_at_all() {
    let (engine, _, clock) = engine();
    let set = take(&engine, &["a", "b", "c"], 1, plain);
    let records = engine.record(&set);
    let copy = fresh(&clock);
    let blocker = take(&copy, &["c"], 2, plain);
    let error = copy.restore(&records).unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Contended, "c"));
    assert_eq!(error.holders().len(), 1);
    assert_eq!(copy.live_keys(), 1, "`a` and `b` are free");
    copy.release(blocker).block().unwrap();
    let restored = copy.restore(&records).unwrap();
    assert_eq!(copy.restore(&records).unwrap_err().kind(), ErrorKind::Contended, "it is there");
    assert!(copy.evict("b", set.token()).block().unwrap());
    for key in ["a", "b", "c"] {
        drop(take(&copy, &[key], 2, plain));
    }
    assert!(copy.record(&restored).is_empty());
}

#[test]
fn c11_what_is_nested_in_a_set_stands_for_itself_once_the_set_is_released() {
    let (engine, _, clock) = engine();
    let set = take(&engine, &["a", "b"], 1, plain);
    let [a, b] = ["a", "b"].map(|key| take(&engine, &[key], 1, again));
    engine.release(set).block().unwrap();
    assert!(engine.lose("a", a.token(), LostCause::Evicted));
    assert!(engine.record(&a).is_empty());
    let records = engine.record(&b);
    assert_eq!(records.len(), 1, "nobody has taken `b`");
    let _alone = fresh(&clock).restore(&records).unwrap();
}

#[test]
fn c14_bounds_and_reservations_are_put_back() {
    let (engine, _, clock) = engine();
    let bounded = take(&engine, &["a"], 1, |options| options.hold_at_most = Some(SECOND * 5));
    let left = take(&engine, &["b"], 1, |options| options.hold_at_least = Some(SECOND * 5));
    let (last, until) = (left.token(), clock.now().after(SECOND * 5));
    engine.release(left).block().unwrap();
    clock.advance(SECOND);
    assert_eq!(engine.reservations(), [("b".to_owned(), Mode::Exclusive, last, until)]);
    let copy = fresh(&clock);
    let restored = copy.restore(&engine.record(&bounded)).unwrap();
    for (key, mode, token, until) in engine.reservations() {
        copy.restore_reservation(&key, mode, token, until).unwrap();
        let error = copy.restore_reservation(&key, mode, token, until).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Contended, "it is there");
    }
    assert_eq!(shown(&copy), shown(&engine));
    assert_eq!(copy.reservations(), engine.reservations());
    clock.advance(SECOND * 4 - Duration::from_nanos(1));
    assert_eq!(copy.record(&restored).len(), 1);
    assert!(ask(&copy, &["b"], 2, plain).is_err());
    clock.advance(Duration::from_nanos(1));
    assert!(copy.record(&restored).is_empty(), "its time is up");
    assert!(take(&copy, &["b"], 2, plain).token() > last);
    assert_eq!(copy.reservations(), []);
    // One that is over counts for its token.
    copy.restore_reservation("c", Mode::Shared, token(70), until).unwrap();
    assert!(take(&copy, &["c"], 2, plain).token() > token(70));
}

#[test]
fn c8_what_has_run_out_before_it_is_put_back_is_known_to_be_lost() {
    let (engine, _, clock) = engine();
    let bounded = take(&engine, &["a"], 1, |options| options.hold_at_most = Some(SECOND));
    let records = engine.record(&bounded);
    clock.advance(SECOND);
    assert!(engine.record(&bounded).is_empty(), "what is lost has no record any more");
    let copy = fresh(&clock);
    let restored = copy.restore(&records).unwrap();
    assert_eq!(copy.poll_lost(&restored, None), Poll::Ready(LostCause::HeldTooLong));
    let next = take(&copy, &["a"], 2, plain);
    assert!(next.token() > restored.token());
    let error = copy.release(restored).block().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost { cause: LostCause::HeldTooLong });
    copy.release(next).block().unwrap();
    assert_eq!(copy.live_keys(), 0);
}

/// In whatever order they come back, and whatever their tokens: it is enough that there is one
/// order of grants in which each obeyed its own number.
#[test]
fn c16_permits_are_put_back_up_to_their_numbers() {
    let (engine, _, clock) = engine();
    let permit = |number, of| record("k", number, Mode::Permit { take: 1, of }, &clock);
    let put_back = |(number, of)| engine.restore(&[permit(number, of)]).unwrap();
    let _three = [(9, 4), (3, 1), (5, 2)].map(put_back);
    let kind = |record: HoldRecord| engine.restore(&[record]).unwrap_err().kind();
    // The first of one, and the second of two, are there.
    assert_eq!(kind(permit(10, 1)), ErrorKind::Contended);
    assert_eq!(kind(permit(2, 1)), ErrorKind::Contended);
    assert_eq!(kind(permit(4, 2)), ErrorKind::Contended);
    assert_eq!(kind(permit(5, 9)), ErrorKind::Contended, "the token is there");
    assert_eq!(kind(record("k", 6, Mode::Shared, &clock)), ErrorKind::PermitsMismatch);
    let fourth = put_back((6, 3));
    assert_eq!(kind(permit(8, 4)), ErrorKind::Contended, "four are there");
    engine.release(fourth).block().unwrap();
    let until = clock.now().after(Duration::from_secs(1));
    engine.restore_reservation("k", Mode::Permit { take: 1, of: 3 }, token(7), until).unwrap();
    let refused = engine.restore_reservation("k", Mode::Permit { take: 1, of: 4 }, token(8), until);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Contended);
}

/// A hold counts for as many permits as it has.
#[test]
fn c16_holds_of_several_permits_are_put_back_with_all_of_them() {
    let (engine, _, clock) = engine();
    let permits = |number, take, of| record("k", number, Mode::Permit { take, of }, &clock);
    let kind = |record: HoldRecord| engine.restore(&[record]).unwrap_err().kind();
    let three = engine.restore(&[permits(3, 3, 5)]).unwrap();
    assert_eq!(kind(permits(5, 3, 5)), ErrorKind::Contended, "one too many after it");
    assert_eq!(kind(permits(2, 3, 4)), ErrorKind::Contended, "one too many before it");
    let two = engine.restore(&[permits(5, 2, 5)]).unwrap();
    assert_eq!(engine.record(&three)[0].mode, Mode::Permit { take: 3, of: 5 });
    engine.release(three).block().unwrap();
    engine.release(two).block().unwrap();
    let until = clock.now().after(Duration::from_secs(1));
    engine.restore_reservation("k", Mode::Permit { take: 4, of: 5 }, token(6), until).unwrap();
    assert_eq!(kind(permits(7, 2, 5)), ErrorKind::Contended);
    assert!(engine.restore(&[permits(7, 1, 5)]).is_ok());
}

#[test]
fn c15_records_that_nobody_has_made_are_refused() {
    let (engine, _, clock) = engine();
    let kind = |records: &[HoldRecord]| engine.restore(records).unwrap_err().kind();
    let good = record("k", 5, Mode::Shared, &clock);
    assert_eq!(kind(&[]), ErrorKind::InvalidKey);
    assert_eq!(kind(&[good.clone(), good.clone()]), ErrorKind::InvalidKey);
    assert_eq!(kind(&[record("", 5, Mode::Shared, &clock)]), ErrorKind::InvalidKey);
    assert_eq!(kind(&[record("k", 1 << 60, Mode::Shared, &clock)]), ErrorKind::Protocol);
    let until = clock.now().after(Duration::from_secs(1));
    let refused = engine.restore_reservation("k", Mode::Shared, token(1 << 60), until);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Protocol);
    assert_eq!(engine.live_keys(), 0);
    let (behind, ..) = behind();
    assert_eq!(behind.restore(&[good]).unwrap_err().kind(), ErrorKind::Unsupported);
    let other = fresh(&clock);
    let foreign = take(&other, &["k"], 1, plain);
    assert!(engine.record(&foreign).is_empty(), "of another engine");
}

#[test]
fn c14_a_mark_is_put_back_and_counts_for_a_release_alone() {
    for lost in [true, false] {
        let (engine, _, clock) = engine();
        let hold = take(&engine, &["k"], 1, |options| {
            options.hold_at_least = Some(SECOND * 60);
            options.hold_at_most = Some(SECOND * 10);
            options.reserve = locks_core::Reserve::IfDone;
        });
        engine.mark_done(&hold);
        let copy = fresh(&clock);
        let restored = copy.restore(&engine.record(&hold)).unwrap();
        if lost {
            clock.advance(SECOND * 11);
        } else {
            copy.release(restored).block().unwrap();
        }
        let next = ask(&copy, &["k"], 2, |options| options.wait = Some(Wait::Try));
        assert_eq!(next.is_ok(), lost);
    }
}

#[test]
fn c14_the_mark_of_the_outermost_guard_that_is_left_counts() {
    for outer_goes_first in [false, true] {
        let (engine, ..) = engine();
        let once = |options: &mut Options| {
            options.hold_at_least = Some(SECOND * 60);
            options.reserve = locks_core::Reserve::IfDone;
            options.reentrant = true;
        };
        let outer = take(&engine, &["k"], 1, once);
        let inner = take(&engine, &["k"], 1, once);
        engine.mark_done(&inner);
        if outer_goes_first {
            engine.release(outer).block().unwrap();
            engine.release(inner).block().unwrap();
        } else {
            engine.release(inner).block().unwrap();
            engine.release(outer).block().unwrap();
        }
        let next = ask(&engine, &["k"], 2, |options| options.wait = Some(Wait::Try));
        assert_eq!(next.is_err(), outer_goes_first);
    }
}

/// A set's token is drawn when all of it is there: its permits were there before others' with
/// lesser ones.
#[test]
fn c16_permits_of_a_set_are_put_back_beside_one_that_was_granted_before_its_token() {
    let permits = |(take, of): (u32, u32)| {
        move |options: &mut Options| options.mode = Mode::Permit { take, of }
    };
    for (first, second) in [((1, 1), (1, 2)), ((2, 2), (1, 3))] {
        let (engine, backend, clock) = engine();
        let busy = take(&engine, &["b"], 1, permits(first));
        let mut set = Polled::waiting(backend.all(["a", "b"]).take(first.0).permits(first.1));
        let other = take(&engine, &["a"], 3, permits(second));
        engine.release(busy).block().unwrap();
        let set = set.granted();
        let lists = backend.list().unwrap();
        assert_eq!(lists[0].holders.len(), 2, "{lists:?}");
        assert!(engine.record(&other)[0].token < set.token());
        let of_set = |key: &str| {
            let (take, of) = first;
            record(key, set.token().get(), Mode::Permit { take, of }, &clock)
        };
        for other_first in [true, false] {
            let copy = fresh(&clock);
            let mut records = [engine.record(&other), vec![of_set("a"), of_set("b")]];
            if !other_first {
                records.reverse();
            }
            let _both = records.map(|records| copy.restore(&records).unwrap());
        }
    }
}
