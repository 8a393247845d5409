//! What an upstream is told of the grants that it makes (C4, C14).

use std::task::Poll;
use std::time::Duration;

use locks_core::{Backend, Engine, ErrorKind, Token};

use crate::polled::Polled;
use crate::table::{Note, behind};

const AGE: Duration = Duration::from_secs(5);

#[test]
fn c4_an_upstream_hears_whether_the_key_is_wanted_when_a_grant_ends() {
    let (engine, backend, table) = behind();
    let lock = || backend.named("k").fair(true);
    let held = lock().acquire().unwrap();
    let mut next = Polled::waiting(lock());
    let mut last = Polled::waiting(lock());
    drop(held);
    assert_eq!(table.ended(), [("k".to_owned(), 1, true)]);
    drop(next.granted());
    assert_eq!(table.ended(), [("k".to_owned(), 2, true)]);
    drop(last.granted());
    assert_eq!(table.ended(), [("k".to_owned(), 3, false)]);
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c4_a_waiter_that_is_only_woken_wants_the_key() {
    let (_engine, backend, table) = behind();
    let held = backend.named("k").acquire().unwrap();
    // It has not waited for long: whoever is quicker may have the key (C3).
    let mut next = Polled::waiting(backend.named("k"));
    drop(held);
    assert_eq!(table.ended(), [("k".to_owned(), 1, true)]);
    drop(next.granted());
    assert_eq!(table.ended(), [("k".to_owned(), 2, false)]);
}

#[test]
fn c4_who_has_given_up_wants_nothing() {
    let (_engine, backend, table) = behind();
    let held = backend.named("k").acquire().unwrap();
    let waiting = Polled::waiting(backend.named("k"));
    drop(waiting);
    drop(held);
    assert_eq!(table.ended(), [("k".to_owned(), 1, false)]);
}

#[test]
fn c4_another_holder_wants_nothing_and_a_turn_that_is_not_granted_does() {
    let (_engine, backend, table) = behind();
    let lock = || backend.named("k").shared();
    let [one, other] = [(); 2].map(|()| lock().acquire().unwrap());
    drop(one);
    assert_eq!(table.ended(), [("k".to_owned(), 1, false)]);
    // The engine has let this one in; the upstream has not.
    table.take("k", true);
    let turn = Polled::waiting(lock());
    drop(other);
    assert_eq!(table.ended(), [("k".to_owned(), 2, true)]);
    drop(turn);
}

#[test]
fn c6_the_end_by_a_thief_is_wanted() {
    let (_engine, backend, table) = behind();
    let held = backend.named("k").acquire().unwrap();
    table.clock.advance(AGE);
    let thief = backend.named("k").steal_after(AGE).wait(false).acquire().unwrap();
    assert_eq!(table.ended(), [("k".to_owned(), 1, true)]);
    drop((held, thief));
    assert_eq!(table.ended(), [("k".to_owned(), 2, false)]);
}

#[test]
fn c14_an_upstream_sees_the_bounds_and_the_engine_keeps_the_upper_one() {
    let (_engine, backend, table) = behind();
    let held = backend.named("k").hold_at_least(AGE / 5).hold_at_most(AGE).acquire().unwrap();
    let notes = table.notes();
    let [Note::Claimed { options, .. }] = notes.as_slice() else { panic!("{notes:?}") };
    assert_eq!((options.hold_at_least, options.hold_at_most), (Some(AGE / 5), Some(AGE)));
    held.check().unwrap();
    table.clock.advance(AGE);
    assert!(held.is_lost());
    assert_eq!(table.ended(), [("k".to_owned(), 1, false)]);
}

#[test]
fn c5_a_grant_for_a_turn_that_was_evicted_is_ended_once() {
    let (engine, backend, table) = behind();
    table.take("k", true);
    let mut first = Polled::waiting(backend.named("k"));
    let infos = backend.list().unwrap();
    assert_eq!(infos[0].waiters.len(), 1, "{infos:?}");
    // The name of a turn is its own; nobody else is told it.
    let turn = locks_core::Token::new((1 << 61) + 1);
    assert!(engine.lose("k", turn, locks_core::LostCause::Evicted));
    let mut next = Polled::waiting(backend.named("k"));
    table.take("k", false);
    let Poll::Ready(Err(error)) = first.poll() else { panic!("its turn has ended") };
    assert!(error.is_lost());
    assert_eq!(table.ended(), [("k".to_owned(), 1, true)]);
    drop(next.granted());
    assert_eq!((engine.live_keys(), table.live()), (0, 0));
}

/// Their names would be those of turns that are not granted yet, and a slot's word has no room for them.
#[test]
fn c7_tokens_that_are_too_great_are_refused_and_given_back() {
    let (engine, backend, table) = behind();
    let grant = |key: &str, token: u64| table.change(key, |row| row.token = token - 1);
    grant("k", 1 << 61);
    for _ in 0..2 {
        let error = backend.named("k").acquire().unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Protocol, "k"), "{error}");
        assert_eq!((engine.live_keys(), table.live()), (0, 0));
    }
    grant("a", (1 << 61) - 1);
    let last = backend.named("a").acquire().unwrap();
    last.check().unwrap();
    drop(last);
    grant("a", 5);
    let error = backend.all(["a", "k"]).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    assert_eq!((engine.live_keys(), table.live()), (0, 0));
}

#[test]
fn c7_a_floor_leaves_room_for_all_tokens_that_follow() {
    let with_floor =
        |floor| Engine::builder().token_floor(Token::new(floor)).map(|all| all.build());
    for floor in [1 << 60, (1 << 61) - 1, 1 << 61, u64::MAX] {
        let Err(error) = with_floor(floor) else { panic!("{floor} was taken") };
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.to_string().contains(&floor.to_string()), "{error}");
    }
    let backend = Backend::new(with_floor((1 << 60) - 1).unwrap());
    for key in ["a", "b"] {
        let first = backend.named(key).acquire().unwrap();
        assert!(first.token().get() >= 1 << 60);
        first.check().unwrap();
        drop(first);
        assert!(backend.named(key).acquire().unwrap().token().get() > 1 << 60);
    }
}
