//! What an upstream is told of the grants that it makes (C4, C14).

use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use locks_core::{Backend, Engine, ErrorKind, LockBuilder, Token};

use crate::polled::Polled;
use crate::table::{Note, Table, behind};

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

/// Their names would be those of turns that are not granted yet, and a slot's word has no room for
/// them.
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
    for floor in [1 << 59, 1 << 60, (1 << 61) - 1, 1 << 61, u64::MAX] {
        let Err(error) = with_floor(floor) else { panic!("{floor} was taken") };
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.to_string().contains(&floor.to_string()), "{error}");
    }
    let backend = Backend::new(with_floor((1 << 59) - 1).unwrap());
    for key in ["a".to_owned(), "b".repeat(100)] {
        let first = backend.named(&*key).acquire().unwrap();
        assert!(first.token().get() >= 1 << 59);
        first.check().unwrap();
        drop(first);
        assert!(backend.named(&*key).acquire().unwrap().token().get() > 1 << 59);
    }
}

/// Has `asks` polled by another thread while the upstream is told that a grant of the key has
/// ended.
fn asked_at_the_end<const N: usize>(
    backend: &Backend,
    table: &Table,
    asks: [fn(LockBuilder<'static>) -> LockBuilder<'static>; N],
) -> Arc<Mutex<Vec<Polled>>> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (backend, polled) = (backend.clone(), asked.clone());
    let ask = move || {
        let asking = move || asks.map(|ask| Polled::waiting(ask(backend.named("k"))));
        let all = std::thread::spawn(asking).join().expect("they wait");
        polled.lock().unwrap().extend(all);
    };
    table.change("k", |row| row.on_end = Some(Box::new(ask)));
    asked
}

/// The key is nobody's while its end is under way on another thread.
#[test]
fn c2_who_does_not_wait_is_not_refused_for_an_end_that_is_under_way() {
    let asks: [fn(LockBuilder<'static>) -> _; 3] = [
        |lock| lock.wait(false),
        |lock| lock.wait(Duration::ZERO),
        |lock| lock.wait(false).fair(true),
    ];
    for ask in asks {
        let (engine, backend, table) = behind();
        let held = backend.named("k").acquire().unwrap();
        let asked = asked_at_the_end(&backend, &table, [ask]);
        drop(held);
        drop(asked.lock().unwrap()[0].granted());
        assert_eq!((engine.live_keys(), table.live()), (0, 0));
    }
}

/// There it would wait for itself.
#[test]
fn c2_the_thread_that_tells_the_upstream_is_refused_meanwhile() {
    let (_engine, backend, table) = behind();
    let held = backend.named("k").acquire().unwrap();
    let (ask, outcomes) = (backend.clone(), Arc::new(Mutex::new(Vec::new())));
    let refused = outcomes.clone();
    let ask = move || {
        for lock in [ask.named("k").wait(false), ask.named("k").wait(Duration::ZERO)] {
            refused.lock().unwrap().push(lock.acquire().map(drop).unwrap_err().kind());
        }
    };
    table.change("k", |row| row.on_end = Some(Box::new(ask)));
    drop(held);
    assert_eq!(*outcomes.lock().unwrap(), [ErrorKind::Contended, ErrorKind::Timeout]);
    drop(backend.named("k").wait(false).acquire().expect("it is free"));
}

#[test]
fn c6_a_thief_that_does_not_wait_is_not_refused_for_the_end_of_another_hold() {
    let (_engine, backend, table) = behind();
    let [one, other] = [(); 2].map(|()| backend.named("k").shared().acquire().unwrap());
    table.clock.advance(AGE);
    let asked = asked_at_the_end(&backend, &table, [|lock| lock.wait(false).steal_after(AGE)]);
    drop(one);
    let thief = asked.lock().unwrap()[0].granted();
    assert!(other.is_lost() && !thief.is_lost());
}

#[test]
fn c2_one_that_an_end_makes_room_for_is_granted_and_the_next_is_refused() {
    let (engine, backend, table) = behind();
    let held = backend.named("k").acquire().unwrap();
    let asks: [fn(LockBuilder<'static>) -> _; 3] =
        [|lock| lock.wait(false), |lock| lock.wait(false), |lock| lock.wait(Duration::ZERO)];
    let asked = asked_at_the_end(&backend, &table, asks);
    drop(held);
    let [first, second, third] = &mut asked.lock().unwrap()[..] else { panic!("three have asked") };
    let guard = first.granted();
    assert_eq!(second.outcome().unwrap_err().kind(), ErrorKind::Contended);
    assert_eq!(third.outcome().unwrap_err().kind(), ErrorKind::Timeout);
    // What is held all the same, is in the way at once.
    let (shared, other) = (backend.named("s").shared(), backend.named("s").shared().acquire());
    let shared = shared.acquire().unwrap();
    let ask = backend.named("s").wait(false);
    let refused = Arc::new(Mutex::new(None));
    let outcome = refused.clone();
    let ask = move || *outcome.lock().unwrap() = Some(ask.acquire().map(drop).unwrap_err().kind());
    table.change("s", |row| row.on_end = Some(Box::new(ask)));
    drop(shared);
    assert_eq!(*refused.lock().unwrap(), Some(ErrorKind::Contended));
    drop((guard, other));
    assert_eq!((engine.live_keys(), table.live()), (0, 0));
}

#[test]
fn c2_a_thread_that_does_not_wait_sees_an_end_out() {
    let (_engine, backend, table) = behind();
    let held = backend.named("k").acquire().unwrap();
    let thread = Arc::new(Mutex::new(None));
    let (other, started) = (backend.clone(), thread.clone());
    let ask = move || {
        let asks = other.clone();
        let acquires = move || asks.named("k").wait(Duration::ZERO).acquire().map(drop);
        *started.lock().unwrap() = Some(std::thread::spawn(acquires));
        while other.list().unwrap().iter().all(|info| info.waiters.is_empty()) {
            std::thread::yield_now();
        }
    };
    table.change("k", |row| row.on_end = Some(Box::new(ask)));
    drop(held);
    let thread = thread.lock().unwrap().take().unwrap();
    thread.join().unwrap().expect("nobody holds it");
}
