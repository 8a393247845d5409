//! Requests that are made once more, and stand where they would have stood (C2, C3).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use locks_core::{
    Caller, Clock, Engine, ErrorKind, Granted, Hold, KeySet, Keys, LockError, ManualClock, Mode,
    Moment, Op, Options, OwnerId, Query, Request, Wait,
};

use crate::polled::{Polled, engine};

const SECOND: Duration = Duration::from_secs(1);

struct Asked(Op<'static, Granted>);

impl Asked {
    fn poll(&mut self) -> Poll<Result<Hold, LockError>> {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.0).poll(&mut cx).map_ok(|granted| granted.hold)
    }

    #[track_caller]
    fn granted(&mut self) -> Hold {
        match self.poll() {
            Poll::Ready(outcome) => outcome.unwrap_or_else(|error| panic!("refused: {error}")),
            Poll::Pending => panic!("it waits"),
        }
    }
}

/// Asks for `k` in the name of this owner, for the first time at `asked`.
fn ask(engine: &Engine, owner: u64, asked: Option<Moment>, change: fn(&mut Options)) -> Asked {
    let engine: &'static Engine = Box::leak(Box::new(engine.clone()));
    let mut options = Options::default();
    change(&mut options);
    let caller = Caller::named(OwnerId::from(owner));
    let mut request = Request::new(Keys::one("k"), options, caller);
    request.requested_at = asked;
    Asked(engine.acquire(request))
}

fn plain(_: &mut Options) {}

fn queue(engine: &Engine) -> Vec<(u64, Duration)> {
    let infos = engine.inspect(Query::All).block().unwrap();
    let waiters = infos.iter().flat_map(|info| &info.waiters);
    waiters.map(|waiter| (waiter.owner.unwrap().to_parts().2, waiter.waited)).collect()
}

fn at(clock: &ManualClock, ago: Duration) -> Option<Moment> {
    Some(Moment::from_nanos(clock.now().nanos() - u64::try_from(ago.as_nanos()).unwrap()))
}

#[test]
fn c3_who_asks_again_stands_where_it_would_have_stood() {
    let (engine, _, clock) = engine();
    clock.advance(SECOND * 100);
    let held = ask(&engine, 0, None, plain).granted();
    let mut newcomer = ask(&engine, 1, None, plain);
    // In another order than they had, two of them at the very same moment.
    let repeated = [(2, 30), (3, 50), (4, 40), (5, 40), (6, 60)];
    let mut repeated =
        repeated.map(|(owner, ago)| ask(&engine, owner, at(&clock, SECOND * ago), plain));
    clock.advance(SECOND);
    let mut last = ask(&engine, 7, None, plain);
    let waited = |seconds| SECOND * seconds;
    let order = [
        (6, waited(61)),
        (3, waited(51)),
        (4, waited(41)),
        (5, waited(41)),
        (2, waited(31)),
        (1, waited(1)),
        (7, waited(0)),
    ];
    assert_eq!(queue(&engine), order);
    engine.release(held).block().unwrap();
    for index in [4, 1, 2, 3, 0] {
        engine.release(repeated[index].granted()).block().unwrap();
    }
    engine.release(newcomer.granted()).block().unwrap();
    engine.release(last.granted()).block().unwrap();
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c3_who_asks_again_overtakes_a_waiter_that_was_only_woken() {
    let (engine, _, clock) = engine();
    clock.advance(SECOND);
    // Both if it has had its time of patience and if it has not.
    for ago in [SECOND, Duration::ZERO] {
        let held = ask(&engine, 0, None, plain).granted();
        let mut woken = ask(&engine, 1, None, plain);
        clock.advance(Duration::from_nanos(1));
        engine.release(held).block().unwrap();
        let asked = at(&clock, ago + Duration::from_nanos(1));
        let mut first = ask(&engine, 2, asked, |options| options.fair = Some(true));
        if ago == Duration::ZERO {
            // It stands behind who was there at the same moment.
            assert!(first.poll().is_pending());
            drop(first);
            engine.release(woken.granted()).block().unwrap();
            continue;
        }
        assert!(matches!(first.0, Op::Now(_)), "at once: nobody would wake it");
        let first = first.granted();
        assert!(woken.poll().is_pending());
        engine.release(first).block().unwrap();
        engine.release(woken.granted()).block().unwrap();
    }
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c3_who_asks_again_at_the_head_of_a_free_key_is_granted_it() {
    let (engine, _, clock) = engine();
    clock.advance(SECOND);
    let held = ask(&engine, 0, None, |options| options.mode = Mode::Shared).granted();
    let writer = ask(&engine, 1, None, plain);
    // Readers that were there before the writer, although that is back first.
    let mut reader = ask(&engine, 2, at(&clock, SECOND), |options| options.mode = Mode::Shared);
    let both = reader.granted();
    let mut late = ask(&engine, 3, None, |options| options.mode = Mode::Shared);
    assert!(late.poll().is_pending(), "it comes after the writer");
    drop(writer);
    for hold in [held, both, late.granted()] {
        engine.release(hold).block().unwrap();
    }
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c2_who_asks_again_waits_for_as_long_as_it_says_now_and_has_waited_since_then() {
    let (engine, _, clock) = engine();
    clock.advance(SECOND * 100);
    let held = ask(&engine, 0, None, plain).granted();
    let limit = |options: &mut Options| options.wait = Some(Wait::AtMost(SECOND));
    let mut waiting = ask(&engine, 1, at(&clock, SECOND * 50), limit);
    clock.advance(SECOND - Duration::from_nanos(1));
    assert!(waiting.poll().is_pending());
    clock.advance(Duration::from_nanos(1));
    let Poll::Ready(Err(error)) = waiting.poll() else { panic!("its time is up") };
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("51"), "{error}");
    engine.release(held).block().unwrap();
}

#[test]
fn c3_nobody_gets_ahead_by_asking_in_the_future() {
    let (engine, _, clock) = engine();
    let held = ask(&engine, 0, None, plain).granted();
    let later = Moment::from_nanos(u64::MAX);
    let first = ask(&engine, 1, Some(later), plain);
    clock.advance(SECOND);
    let second = ask(&engine, 2, None, plain);
    assert_eq!(queue(&engine), [(1, SECOND), (2, Duration::ZERO)]);
    drop((first, second));
    engine.release(held).block().unwrap();
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c11_a_set_that_is_asked_for_again_stands_at_each_key_where_it_would_have_stood() {
    let (engine, _, clock) = engine();
    clock.advance(SECOND * 100);
    let held = ask(&engine, 0, None, plain).granted();
    let newcomer = ask(&engine, 1, None, plain);
    let keys: &'static KeySet = Box::leak(Box::new(KeySet::new(["a", "k"])));
    let caller = Caller::named(OwnerId::from(2));
    let mut request = Request::new(Keys::all(keys), Options::default(), caller);
    request.requested_at = at(&clock, SECOND);
    let leaked: &'static Engine = Box::leak(Box::new(engine.clone()));
    let mut set = Asked(leaked.acquire(request));
    assert_eq!(queue(&engine), [(2, SECOND), (1, Duration::ZERO)]);
    engine.release(held).block().unwrap();
    engine.release(set.granted()).block().unwrap();
    drop(newcomer);
    assert_eq!(engine.live_keys(), 0);
}

#[test]
fn c9_who_waits_nests_in_the_hold_of_its_owner_that_barged_in() {
    let (engine, backend, _clock) = engine();
    let held = backend.named("k").acquire().unwrap().into_owned();
    let mut inner = Polled::waiting(backend.named("k").owner(7).reentrant());
    drop(held);
    let outer = backend.named("k").owner(7).wait(false).acquire().unwrap();
    let inner = inner.granted();
    assert_eq!(inner.token(), outer.token());
    drop((inner, outer));
    assert_eq!(engine.live_keys(), 0);
}
