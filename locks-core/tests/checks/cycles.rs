//! Deadlocks that are seen late, or that are none (C10), by schedules made by hand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use std::future::Future;
use std::pin::Pin;

use locks_core::{
    Acquire, Alarm, Alarms, Backend, Clock, Engine, ErrorKind, LockBuilder, Moment, OwnedGuard,
};

use crate::polled::{Polled, engine};

/// A clock whose alarms are never in time.
struct Late(AtomicU64, Arc<Alarms>);

impl Clock for Late {
    fn now(&self) -> Moment {
        Moment::from_nanos(self.0.load(Ordering::SeqCst))
    }

    fn wake_at(&self, at: Moment, waker: Waker) -> Alarm {
        self.1.set(at, waker)
    }

    fn sleep_until(&self, _: Moment) -> Option<Duration> {
        None
    }
}

type Act = Box<dyn FnOnce() + Send>;

/// A waker that does this when it is first called.
struct Then(Mutex<Option<Act>>);

impl Wake for Then {
    fn wake(self: Arc<Self>) {
        let act = self.0.lock().unwrap().take();
        if let Some(act) = act {
            act();
        }
    }
}

type Waiting = Pin<Box<Acquire<'static>>>;

/// Asks for it, to be woken by `act`.
fn then(lock: LockBuilder<'static>, act: impl FnOnce(Waiting) + Send + 'static) {
    let place = Arc::new(Mutex::new(Some(Box::pin(lock.acquire_async()))));
    let woken = place.clone();
    let act = move || act(woken.lock().unwrap().take().expect("it is woken once"));
    let waker = Waker::from(Arc::new(Then(Mutex::new(Some(Box::new(act))))));
    let mut waiting = place.lock().unwrap().take().unwrap();
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    *place.lock().unwrap() = Some(waiting);
}

fn poll(waiting: &mut Waiting) -> Poll<Result<OwnedGuard, locks_core::LockError>> {
    waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn c10_who_comes_to_hold_the_key_while_a_wait_is_entered_closes_no_cycle_unseen() {
    let clock = Arc::new(Late(AtomicU64::new(1_000_000_000), Alarms::new()));
    let backend = Backend::new(Engine::builder().clock(clock.clone()).build());
    let lock = {
        let backend = backend.clone();
        move |key: &'static str, owner: u64| backend.named(key).owner(owner).fair(true)
    };
    let own = Polled::at_once(lock("l", 4));
    let bounded = Polled::at_once(lock("k", 1).hold_at_most(Duration::from_millis(5)));
    // Who is next gives the key up at once, and the one after it asks for what the last one has.
    then(lock("k", 2), |mut waiting| {
        let Poll::Ready(Ok(guard)) = poll(&mut waiting) else { panic!("it is granted") };
        drop(guard);
    });
    let other = Arc::new(Mutex::new(None));
    let (kept, again) = (other.clone(), lock.clone());
    then(lock("k", 3), move |mut waiting| {
        let Poll::Ready(Ok(guard)) = poll(&mut waiting) else { panic!("it is granted") };
        let mut next = Box::pin(again("l", 3).acquire_async());
        let refused = match poll(&mut next) {
            Poll::Ready(outcome) => Some(outcome.unwrap_err().kind()),
            Poll::Pending => None,
        };
        *kept.lock().unwrap() = Some((guard, next, refused));
    });
    clock.0.fetch_add(6_000_000, Ordering::SeqCst);
    // All of that happens while this is entered.
    let mut last: Waiting = Box::pin(lock("k", 4).acquire_async());
    let told = match poll(&mut last) {
        Poll::Ready(outcome) => Some(outcome.unwrap_err().kind()),
        Poll::Pending => None,
    };
    assert!(bounded.is_lost());
    let (_guard, _next, other_told) = other.lock().unwrap().take().expect("it has the key");
    let told = [told, other_told];
    assert_eq!(told.iter().flatten().collect::<Vec<_>>(), [&ErrorKind::Deadlock], "{told:?}");
    drop(own);
}

#[test]
fn c10_an_upgrade_whose_hold_is_lost_is_in_the_way_of_no_other() {
    let (_, backend, clock) = engine();
    let lock = |owner: u64| backend.named("k").owner(owner);
    let lost = Polled::at_once(lock(1).shared().hold_at_most(Duration::from_millis(5)));
    let _own = Polled::at_once(lock(2).shared());
    let third = Polled::at_once(lock(3).shared());
    let _upgrade = Polled::waiting(lock(1).reentrant());
    clock.advance(Duration::from_millis(6));
    assert!(lost.is_lost());
    let mut other = Polled::waiting(lock(2).reentrant());
    drop(third);
    assert!(other.poll().is_ready());
}
