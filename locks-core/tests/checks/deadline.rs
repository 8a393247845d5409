//! From when a limit counts (C2).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Waker;
use std::time::Duration;

use locks_core::{Alarm, Backend, Clock, Engine, ManualClock, Moment, OwnedGuard};

/// A clock that stands still. When a request reads it for the first time, the key is let go; when
/// it does for the second time, it is seen whether the key is free. No mutex of the engine is held
/// then.
#[derive(Default)]
struct Watched {
    clock: ManualClock,
    /// Taken by the first read.
    held: Mutex<Option<OwnedGuard>>,
    /// Taken by the second.
    backend: Mutex<Option<Backend>>,
    was_free: OnceLock<bool>,
    is_looking: AtomicBool,
}

struct Handle(Arc<Watched>);

impl Clock for Handle {
    fn now(&self) -> Moment {
        let Watched { clock, held, backend, was_free, is_looking } = &*self.0;
        if !is_looking.swap(true, Ordering::Relaxed) {
            let held = held.lock().unwrap().take();
            let backend = if held.is_none() { backend.lock().unwrap().take() } else { None };
            drop(held);
            if let Some(backend) = backend {
                let looked = backend.named("k").wait(false).acquire();
                was_free.set(looked.is_ok()).unwrap();
            }
            is_looking.store(false, Ordering::Relaxed);
        }
        clock.now()
    }

    fn wake_at(&self, at: Moment, waker: Waker) -> Alarm {
        self.0.clock.wake_at(at, waker)
    }

    fn sleep_until(&self, at: Moment) -> Option<Duration> {
        self.0.clock.sleep_until(at)
    }
}

/// A thread that looks a few times for a key to be let go may give way to others in between, for as
/// long as the scheduler likes. Where the key is let go at the moment from which the limit counts,
/// all these looks find it free: they come after it.
#[test]
fn c2_a_limit_counts_from_before_the_first_look_that_may_give_way() {
    let watched = Arc::new(Watched::default());
    let backend = Backend::new(Engine::builder().clock(Arc::new(Handle(watched.clone()))).build());
    let held = backend.named("k").acquire().unwrap().into_owned();
    *watched.held.lock().unwrap() = Some(held);
    *watched.backend.lock().unwrap() = Some(backend.clone());
    let guard = backend.named("k").wait(Duration::from_secs(5)).acquire().unwrap();
    assert_eq!(watched.was_free.get(), Some(&false), "the second time is of the hold's own stamp");
    drop(guard);
}

/// What has passed before the first poll does not count, and no more than the limit after it.
#[test]
fn c2_a_limit_counts_from_the_first_poll() {
    let clock = ManualClock::new();
    let backend = Backend::new(Engine::builder().clock(Arc::new(clock.clone())).build());
    let _held = backend.named("k").acquire().unwrap();
    let (limit, tick) = (Duration::from_secs(5), Duration::from_nanos(1));
    let mut wait = Box::pin(backend.named("k").wait(limit).acquire_async());
    let mut poll = || {
        let mut cx = std::task::Context::from_waker(Waker::noop());
        std::future::Future::poll(wait.as_mut(), &mut cx)
    };
    clock.advance(limit * 2);
    assert!(poll().is_pending());
    clock.advance(limit - tick);
    assert!(poll().is_pending(), "a nanosecond is left");
    clock.advance(tick);
    let std::task::Poll::Ready(Err(error)) = poll() else { panic!("its time is over") };
    assert_eq!(error.kind(), locks_core::ErrorKind::Timeout);
    assert_eq!(error.waited(), Some(limit));
}
