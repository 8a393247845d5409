//! What is decided beside plain holds, which the fast path keeps (C3).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use locks_core::{Acquire, Backend, Engine, ErrorKind, LostCause, ManualClock, OwnedGuard, Token};

struct Bench {
    clock: ManualClock,
    engine: Engine,
    backend: Backend,
}

impl Bench {
    fn new() -> Self {
        let clock = ManualClock::new();
        let engine = Engine::builder().clock(Arc::new(clock.clone())).build();
        Self { clock, backend: Backend::new(engine.clone()), engine }
    }

    fn wait(&self, micros: u64) {
        self.clock.advance(Duration::from_micros(micros));
    }

    fn hold(&self) -> OwnedGuard {
        self.backend.named("k").wait(false).acquire().unwrap().into_owned()
    }

    /// One that waits, and has been polled.
    fn waiter(&self) -> Pin<Box<Acquire<'static>>> {
        let mut waiter = Box::pin(self.backend.named("k").acquire_async());
        assert!(poll(&mut waiter).is_none());
        waiter
    }

    fn assert_contended(&self) {
        let error = self.backend.named("k").wait(false).acquire().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Contended);
    }

    fn assert_idle(&self) {
        assert_eq!((self.engine.live_keys(), self.engine.known_keys()), (0, 0));
    }
}

fn poll(waiter: &mut Pin<Box<Acquire<'static>>>) -> Option<OwnedGuard> {
    match waiter.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome.unwrap()),
        Poll::Pending => None,
    }
}

#[test]
fn c3_a_release_hands_over_by_the_clock_although_the_first_was_woken_in_vain() {
    let bench = Bench::new();
    let held = bench.hold();
    let mut first = bench.waiter();
    let second = bench.waiter();
    bench.wait(300);
    drop(held);
    let barger = bench.hold();
    bench.wait(300);
    drop(barger);
    // Woken 300 µs ago, but it heads the queue for 600.
    bench.assert_contended();
    drop(poll(&mut first).unwrap());
    drop(second);
    bench.assert_idle();
}

#[test]
fn c3_who_was_overtaken_is_woken_again_and_keeps_its_place() {
    let bench = Bench::new();
    let held = bench.hold();
    let (mut first, mut second) = (bench.waiter(), bench.waiter());
    drop(held);
    let barger = bench.hold();
    assert!(poll(&mut first).is_none() && poll(&mut second).is_none());
    drop(barger);
    assert!(poll(&mut second).is_none());
    let first = poll(&mut first).unwrap();
    bench.wait(1_000);
    drop(first);
    bench.assert_contended();
    drop(poll(&mut second).unwrap());
    bench.assert_idle();
}

#[test]
fn c7_c12_a_hold_that_was_handed_over_is_its_waiters_with_the_next_token() {
    let bench = Bench::new();
    let held = bench.hold();
    let (mut first, second) = (bench.waiter(), bench.waiter());
    bench.wait(1_000);
    let token = Token::new(held.token().get() + 1);
    drop(held);
    let [info] = &bench.backend.list().unwrap()[..] else { panic!("one key") };
    assert_eq!(info.holders[0].token, Some(token));
    assert_eq!(info.holders[0].age, Some(Duration::ZERO));
    assert_eq!(info.waiters.len(), 1);
    let guard = poll(&mut first).unwrap();
    assert_eq!(guard.token(), token);
    drop((guard, second));
    bench.assert_idle();
}

#[test]
fn c8_who_loses_what_it_was_handed_before_it_took_it_asks_again() {
    let bench = Bench::new();
    let held = bench.hold();
    let (mut first, second) = (bench.waiter(), bench.waiter());
    bench.wait(1_000);
    let token = Token::new(held.token().get() + 1);
    drop(held);
    assert!(bench.engine.lose("k", token, LostCause::Evicted));
    // It has never held the key, so nothing is lost to it: it waits where it stood, before the
    // second.
    let guard = poll(&mut first).unwrap();
    assert!(guard.token() > token && !guard.is_lost());
    drop((guard, second));
    bench.assert_idle();
}

#[test]
fn c5_who_gives_up_what_it_was_handed_passes_it_on() {
    let bench = Bench::new();
    let held = bench.hold();
    let (first, mut second) = (bench.waiter(), bench.waiter());
    bench.wait(1_000);
    drop(held);
    drop(first);
    drop(poll(&mut second).unwrap());
    bench.assert_idle();
}

#[test]
fn c12_a_hold_that_was_handed_over_has_its_waiters_label() {
    let bench = Bench::new();
    let held = bench.hold();
    let mut first = Box::pin(bench.backend.named("k").label("batch 7").acquire_async());
    assert!(poll(&mut first).is_none());
    let second = bench.waiter();
    bench.wait(1_000);
    drop(held);
    let label = || bench.backend.list().unwrap()[0].holders[0].label.clone();
    assert_eq!(label().as_deref(), Some("batch 7"));
    let guard = poll(&mut first).unwrap();
    assert_eq!(label().as_deref(), Some("batch 7"));
    drop((guard, second));
    bench.assert_idle();
}
