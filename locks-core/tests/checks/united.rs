//! Several keys of one request, each granted by an upstream (C11).

use std::task::Poll;
use std::time::Duration;

use locks_core::{ErrorKind, LockBuilder, LockError, LostCause, OwnedGuard, Token};

use crate::polled::Polled;
use crate::table::{Note, Table, behind};

const AGE: Duration = Duration::from_secs(5);
const KEYS: [&str; 3] = ["a", "b", "c"];

/// What has ended: the keys, in that order.
fn ended(table: &Table) -> Vec<String> {
    table.ended().into_iter().map(|(key, ..)| key).collect()
}

/// What was claimed and what has ended, in short.
fn told(table: &Table) -> Vec<String> {
    let short = |note| match note {
        Note::Claimed { key, part_of_set: true, .. } => format!("claim {key}"),
        Note::Claimed { key, part_of_set: false, .. } => format!("claim {key} alone"),
        Note::Completed { key, .. } => format!("complete {key}"),
        Note::Ended { key, .. } => format!("end {key}"),
        Note::Withdrawn { key } => format!("withdraw {key}"),
        Note::Refreshed { key, token } => format!("refresh {key} {token}"),
    };
    table.notes().into_iter().map(short).collect()
}

/// It is polled, and granted.
#[track_caller]
fn granted(polled: &mut Polled) -> OwnedGuard {
    match polled.poll() {
        Poll::Ready(outcome) => outcome.unwrap_or_else(|error| panic!("refused: {error}")),
        Poll::Pending => panic!("it waits"),
    }
}

#[track_caller]
fn refused(polled: &mut Polled) -> LockError {
    match polled.poll() {
        Poll::Ready(outcome) => outcome.expect_err("it is refused"),
        Poll::Pending => panic!("it waits"),
    }
}

fn at_once(lock: LockBuilder<'static>) -> Result<OwnedGuard, LockError> {
    lock.wait(false).acquire().map(|guard| guard.into_owned())
}

#[test]
fn c11_all_keys_are_granted_or_none() {
    let (engine, backend, table) = behind();
    table.take("c", true);
    let error = at_once(backend.all(KEYS)).expect_err("`c` is taken");
    assert_eq!((error.kind(), error.key()), (ErrorKind::Contended, "c"));
    assert_eq!(told(&table), ["claim a", "claim b", "claim c", "end b", "end a"]);
    assert_eq!((engine.live_keys(), table.live()), (0, 0));
    table.take("c", false);
    let all = at_once(backend.all(KEYS)).unwrap();
    assert_eq!(table.live(), 3);
    let steps = ["claim a", "claim b", "claim c", "complete a", "complete b", "complete c"];
    assert_eq!(told(&table), steps);
    for key in KEYS {
        assert!(at_once(backend.named(key)).unwrap_err().is_contended());
    }
    drop(all);
    assert_eq!(ended(&table), KEYS);
    assert_eq!((engine.live_keys(), table.live()), (0, 0));
}

#[test]
fn c11_the_token_is_the_greatest_of_those_of_the_keys() {
    let (_engine, backend, table) = behind();
    for (key, token) in [("a", 5), ("b", 40), ("c", 7)] {
        table.change(key, |row| row.token = token);
    }
    let all = at_once(backend.all(KEYS)).unwrap();
    assert_eq!(all.token(), Token::new(41));
    table.notes();
    drop(all);
    let names = table.ended().into_iter().map(|(_, token, _)| token).collect::<Vec<_>>();
    assert_eq!(names, [41, 41, 41], "they end by the name that they have");
    for key in KEYS {
        assert_eq!(at_once(backend.named(key)).unwrap().token(), Token::new(42));
    }
}

#[test]
fn c7_the_token_is_above_one_that_a_key_has_granted_to_a_sharer_meanwhile() {
    let (engine, backend, table) = behind();
    table.take("b", true);
    let mut all = Polled::waiting(backend.all(["a", "b"]).shared());
    let sharer = at_once(backend.named("a").shared()).unwrap();
    assert_eq!(sharer.token(), Token::new(2));
    table.notes();
    table.take("b", false);
    let all = all.granted();
    assert_eq!(told(&table), ["complete a", "complete b"], "the engine knows of the sharer itself");
    assert_eq!(all.token(), Token::new(3));
    drop((sharer, all));
    // The sharer is elsewhere: only the upstream knows.
    table.take("b", true);
    let mut all = Polled::waiting(backend.all(["a", "b"]).shared());
    table.change("a", |row| row.token = 50);
    table.notes();
    table.take("b", false);
    let all = all.granted();
    assert_eq!(told(&table)[..4], ["end a", "end b", "claim a", "claim b"]);
    assert_eq!(all.token(), Token::new(51));
    drop(all);
    assert_eq!((engine.live_keys(), table.live()), (0, 0));
}

#[test]
fn c9_a_nested_member_leaves_the_hold_around_it_what_it_is() {
    let (engine, backend, table) = behind();
    table.change("b", |row| row.token = 76);
    let named = |key: &'static str| backend.named(key).owner(1).reentrant();
    let outer = at_once(named("b")).unwrap();
    let all = at_once(backend.all(KEYS).owner(1).reentrant().hold_at_most(AGE)).unwrap();
    assert_eq!((outer.token(), all.token()), (Token::new(77), Token::new(78)));
    let begun = |note| match note {
        Note::Completed { key, bounds, .. } => Some((key, bounds?.hold_at_most)),
        _ => None,
    };
    let begun = table.notes().into_iter().filter_map(begun).collect::<Vec<_>>();
    assert_eq!(begun, [("a".to_owned(), Some(AGE)), ("c".to_owned(), Some(AGE))]);
    // The loss of one is the loss of all of the set, and of nothing else.
    assert!(engine.lose("a", all.token(), LostCause::Evicted));
    assert!(all.is_lost());
    outer.check().unwrap();
    drop(all);
    outer.check().unwrap();
    let next = at_once(backend.all(["b", "d"]).owner(1).reentrant()).unwrap();
    assert_eq!(next.token(), Token::new(79), "above the set before it as well");
    drop((next, outer));
    assert_eq!((engine.live_keys(), table.live()), (0, 0));
    assert_eq!(at_once(backend.named("b")).unwrap().token(), Token::new(80));
}

/// What happens around a request for all keys, which waits for each of them, twice.
const STEPS: [fn(&Table); 6] = [
    |table| table.take("a", false),
    |table| table.take("b", false),
    |table| table.take("c", false),
    |table| table.change("a", |row| row.is_slow = false),
    |table| table.change("b", |row| row.is_slow = false),
    |table| table.change("c", |row| row.is_slow = false),
];

#[test]
fn c5_a_request_dropped_at_any_point_gives_all_back() {
    for dropped_after in 0..STEPS.len() {
        for polled in [false, true] {
            let (engine, backend, table) = behind();
            for key in KEYS {
                table.change(key, |row| (row.is_taken, row.is_slow) = (true, true));
            }
            let mut all = Polled::waiting(backend.all(KEYS));
            let mut next = Polled::waiting(backend.named("a"));
            for step in &STEPS[..dropped_after] {
                assert!(all.poll().is_pending());
                step(&table);
            }
            if polled {
                assert!(all.poll().is_pending());
            }
            drop(all);
            let what = format!("dropped after {dropped_after}, polled then: {polled}");
            assert_eq!(table.live(), 0, "{what}");
            table.take("a", false);
            drop(next.granted());
            assert_eq!((engine.live_keys(), table.live()), (0, 0), "{what}");
        }
    }
}

#[test]
fn c2_one_deadline_covers_all_keys_here_and_beyond() {
    let (engine, backend, table) = behind();
    let elsewhere = backend.named("b").acquire().unwrap();
    table.take("a", true);
    table.notes();
    let mut all = Polled::waiting(backend.all(KEYS).wait(AGE));
    table.clock.advance(AGE / 5);
    table.take("a", false);
    assert!(all.poll().is_pending());
    table.clock.advance(AGE / 5);
    table.take("c", true);
    drop(elsewhere);
    assert!(all.poll().is_pending());
    let waits = |note| match note {
        Note::Claimed { options, .. } => options.wait,
        _ => None,
    };
    let waits = table.notes().into_iter().filter_map(waits).collect::<Vec<_>>();
    assert_eq!(waits, [AGE, AGE * 3 / 5, AGE * 3 / 5].map(locks_core::Wait::AtMost));
    table.clock.advance(AGE * 3 / 5);
    let error = all.outcome().unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Timeout, "c"));
    assert!(error.to_string().contains("after 5 s"), "{error}");
    assert_eq!((engine.live_keys(), table.live()), (0, 0));
}

#[test]
fn c11_the_loss_of_one_is_the_loss_of_all() {
    for told in [false, true] {
        let (engine, backend, table) = behind();
        let all = at_once(backend.all(KEYS)).unwrap();
        all.check().unwrap();
        if told {
            assert!(engine.lose("b", all.token(), LostCause::Expired));
        } else {
            table.lose("b", LostCause::Expired);
        }
        let kind = all.check().unwrap_err().kind();
        assert_eq!(kind, ErrorKind::Lost { cause: LostCause::Expired });
        assert_eq!(ended(&table).len(), 3, "none of them is kept");
        let [a, c] = ["a", "c"].map(|key| at_once(backend.named(key)).unwrap());
        assert!(all.release().unwrap_err().is_lost());
        a.check().unwrap();
        c.check().unwrap();
        drop((a, c));
        assert_eq!((engine.live_keys(), table.live()), (0, 0));
    }
}

#[test]
fn c11_a_key_lost_before_all_are_there_is_taken_again_with_those_behind_it() {
    for told_at_once in [true, false] {
        let (engine, backend, table) = behind();
        let elsewhere = at_once(backend.named("c")).unwrap();
        let mut all = Polled::waiting(backend.all(KEYS));
        if told_at_once {
            assert!(engine.lose("b", Token::new(1), LostCause::Evicted));
        } else {
            // It comes out when the whole is completed.
            table.lose("b", LostCause::Evicted);
        }
        table.notes();
        drop(elsewhere);
        let all = all.granted();
        let mut steps = vec!["end c", "claim c"];
        if !told_at_once {
            steps.extend(["complete a", "end b"]);
        }
        steps.extend(["end c", "claim b", "claim c"]);
        steps.extend(["complete a", "complete b", "complete c"]);
        assert_eq!(told(&table), steps);
        all.check().unwrap();
        assert_eq!(all.token(), Token::new(3));
        assert_eq!(ended_by(all, &table), [3, 3, 3]);
        assert_eq!((engine.live_keys(), table.live()), (0, 0));
    }
}

/// The names by which the keys of a guard end.
fn ended_by(all: OwnedGuard, table: &Table) -> Vec<u64> {
    drop(all);
    table.ended().into_iter().map(|(_, token, _)| token).collect()
}

#[test]
fn c11_a_key_lost_while_the_others_are_completed_is_taken_again() {
    for lost in KEYS {
        let (engine, backend, table) = behind();
        table.change("b", |row| row.is_slow = true);
        let mut all = Polled::waiting(backend.all(KEYS));
        // `a` is complete, `b` is about to be.
        assert!(engine.lose(lost, Token::new(1), LostCause::Evicted));
        table.notes();
        table.change("b", |row| row.is_slow = false);
        let all = all.granted();
        all.check().unwrap();
        let claims = told(&table).into_iter().filter(|note| note.starts_with("claim"));
        let again = &KEYS[KEYS.iter().position(|key| *key == lost).unwrap()..];
        let expected = again.iter().map(|key| format!("claim {key}")).collect::<Vec<_>>();
        assert_eq!(claims.collect::<Vec<_>>(), expected);
        drop(all);
        assert_eq!((engine.live_keys(), table.live()), (0, 0));
    }
}

#[test]
fn c11_a_key_lost_at_the_moment_of_its_completion_is_taken_again() {
    let (engine, backend, table) = behind();
    let losing = engine.clone();
    table.change("b", |row| {
        row.on_complete = Some(Box::new(move || {
            assert!(losing.lose("b", Token::new(1), LostCause::Evicted));
        }));
    });
    let all = at_once(backend.all(KEYS)).unwrap();
    all.check().unwrap();
    assert_eq!(told(&table)[3..8], ["complete a", "complete b", "end b", "end c", "claim b"]);
    drop(all);
    assert_eq!((engine.live_keys(), table.live()), (0, 0));
}

#[test]
fn c11_an_upstream_that_cannot_complete_fails_the_request() {
    let (engine, backend, table) = behind();
    table.change("b", |row| {
        row.fails = Some(|| LockError::unavailable("table:", "the disk is full"));
    });
    let error = at_once(backend.all(KEYS)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(ended(&table), ["c", "b", "a"]);
    assert_eq!((engine.live_keys(), table.live()), (0, 0));
}

#[test]
fn c4_a_release_tells_of_the_failure_of_any_key_and_ends_all() {
    for failing in KEYS {
        let (engine, backend, table) = behind();
        let all = at_once(backend.all(KEYS)).unwrap();
        table.change(failing, |row| {
            row.fails = Some(|| LockError::unavailable("table:", "the disk is full"));
        });
        assert_eq!(all.release().unwrap_err().kind(), ErrorKind::Unavailable, "{failing}");
        assert_eq!(ended(&table), KEYS);
        assert_eq!((engine.live_keys(), table.live()), (0, 0));
    }
}

#[test]
fn c6_a_refreshment_reaches_all_keys_and_tells_of_any_failure() {
    let (_engine, backend, table) = behind();
    table.change("b", |row| row.token = 8);
    let all = at_once(backend.all(KEYS)).unwrap();
    table.notes();
    all.refresh().unwrap();
    assert_eq!(told(&table), ["refresh a 9", "refresh b 9", "refresh c 9"]);
    for failing in KEYS {
        let fail = |how| table.change(failing, |row| row.fails = how);
        fail(Some(|| LockError::unavailable("table:", "the disk is full")));
        assert_eq!(all.refresh().unwrap_err().kind(), ErrorKind::Unavailable, "{failing}");
        fail(None);
    }
}

#[test]
fn c6_age_and_bounds_count_from_when_the_last_key_is_there() {
    let (engine, backend, table) = behind();
    table.take("c", true);
    let mut all = Polled::waiting(backend.all(KEYS).hold_at_least(AGE / 5).hold_at_most(AGE * 2));
    let mut thief = Polled::waiting(backend.named("a").steal_after(AGE));
    assert!(at_once(backend.named("b").steal_after(AGE)).unwrap_err().is_contended());
    table.clock.advance(AGE * 3);
    assert!(thief.poll().is_pending(), "what is not complete has no age");
    let unfinished = told(&table);
    assert!(!unfinished.iter().any(|note| note.ends_with("alone")), "{unfinished:?}");
    table.take("c", false);
    let all = all.granted();
    let begun = |note| match note {
        Note::Completed { bounds, .. } => bounds.map(|b| (b.hold_at_least, b.hold_at_most)),
        _ => None,
    };
    let begun = table.notes().into_iter().filter_map(begun).collect::<Vec<_>>();
    // What reserves comes last: for a set that came to nothing in between, nothing is reserved.
    assert_eq!(begun[..3], [(None, Some(AGE * 2)); 3]);
    assert_eq!(begun[3..], [(Some(AGE / 5), Some(AGE * 2)); 3]);
    table.clock.advance(AGE - Duration::from_millis(1));
    assert!(thief.poll().is_pending());
    all.check().unwrap();
    table.clock.advance(Duration::from_millis(1));
    let stolen = thief.granted();
    assert!(all.is_lost());
    drop((all, stolen));
    assert_eq!((engine.live_keys(), table.live()), (0, 0));
}

#[test]
fn c14_the_upper_bound_ends_all_keys_and_the_lower_one_begins_with_the_whole() {
    let (engine, backend, table) = behind();
    table.take("c", true);
    let mut all = Polled::waiting(backend.all(KEYS).hold_at_least(AGE).hold_at_most(AGE));
    table.clock.advance(AGE * 2);
    table.take("c", false);
    let all = all.granted();
    table.clock.advance(AGE - Duration::from_millis(1));
    all.check().unwrap();
    table.clock.advance(Duration::from_millis(1));
    assert_eq!(ended(&table).len(), 3);
    assert!(all.is_lost());
    drop(all);
    table.take("c", true);
    drop(Polled::waiting(backend.all(KEYS).hold_at_least(AGE)));
    assert_eq!(engine.live_keys(), 0, "what was never complete reserves nothing");
}

#[test]
fn c10_a_cycle_through_what_a_set_has_been_granted_is_found() {
    let (engine, backend, table) = behind();
    let mine = Polled::at_once(backend.named("c").owner(1));
    table.take("b", true);
    let mut all = Polled::waiting(backend.all(KEYS));
    // The set waits for somebody elsewhere: `a` is held, and this is no cycle yet.
    let mut wait = Polled::waiting(backend.named("a").owner(1));
    table.take("b", false);
    let error = refused(&mut all);
    assert_eq!(error.kind(), ErrorKind::Deadlock, "{error}");
    drop(wait.granted());
    // The other way round: the set waits here already.
    let mut all = Polled::waiting(backend.all(KEYS));
    let error = refused(&mut Polled::new(backend.named("a").owner(1)));
    assert_eq!(error.kind(), ErrorKind::Deadlock, "{error}");
    // A thief who finds the set unfinished would wait for it as long as anybody.
    let error = refused(&mut Polled::new(backend.named("a").owner(1).steal_after(AGE)));
    assert_eq!(error.kind(), ErrorKind::Deadlock, "{error}");
    drop(mine);
    drop(granted(&mut all));
    assert_eq!((engine.live_keys(), table.live()), (0, 0));
}

#[test]
fn c10_a_cycle_through_a_thief_at_the_upstream_is_found() {
    let (engine, backend, table) = behind();
    let mine = Polled::at_once(backend.named("c").owner(1));
    table.take("b", true);
    let mut all = Polled::waiting(backend.all(KEYS));
    // There is nothing here yet that it would have to stand behind.
    let mut thief = Polled::waiting(backend.named("b").owner(1).steal_after(AGE));
    let asks = |note: &String| note.as_str() == "claim b alone";
    assert!(told(&table).iter().any(asks), "it asks the upstream");
    table.take("b", false);
    let error = refused(&mut all);
    assert_eq!(error.kind(), ErrorKind::Deadlock, "{error}");
    assert_eq!(error.cycle().len(), 2, "{error:?}");
    drop((mine, thief.granted()));
    assert_eq!((engine.live_keys(), table.live()), (0, 0));
}
