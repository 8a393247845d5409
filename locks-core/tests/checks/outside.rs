//! Code of others that the engine runs: wakers and subscribers may do what they like (C5, C8).

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use locks_core::{Alarm, Backend, CancelToken, Clock, Engine, LockBuilder, ManualClock, Moment};

#[cfg(feature = "tracing")]
use crate::listens::warnings;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `body` on a thread of its own; whether it came to an end.
#[track_caller]
fn ends(what: &str, body: impl FnOnce() + Send + 'static) {
    let (done, ended) = channel();
    thread::spawn(move || {
        let outcome = catch_unwind(AssertUnwindSafe(body));
        // Nobody may be listening any more: then the test has failed already.
        let _ = done.send(outcome);
    });
    match ended.recv_timeout(PATIENCE) {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(_) => panic!("{what} hangs"),
    }
}

/// Asks the engine when woken, and again when it is dropped.
struct Asks(Backend, Mutex<Sender<usize>>);

impl Asks {
    fn ask(&self) {
        let known = self.0.list().unwrap().len();
        drop(self.0.named("k").wait(false).acquire());
        // The last waker may outlive the test.
        let _ = self.1.lock().unwrap().send(known);
    }
}

impl Wake for Asks {
    fn wake(self: Arc<Self>) {
        self.ask();
    }
}

impl Drop for Asks {
    fn drop(&mut self) {
        self.ask();
    }
}

fn asks(backend: &Backend) -> (Waker, std::sync::mpsc::Receiver<usize>) {
    let (asked, answers) = channel();
    (Waker::from(Arc::new(Asks(backend.clone(), Mutex::new(asked)))), answers)
}

#[test]
fn c5_a_waker_can_ask_the_engine_that_wakes_it() {
    let ways: [fn(LockBuilder<'static>) -> LockBuilder<'static>; 2] =
        // The other one has an alarm set as well, with its grant.
        [|lock| lock, |lock| lock.hold_at_most(Duration::from_secs(60))];
    for way in ways {
        ends("a waker that asks", move || {
            let backend = Backend::new(Engine::new());
            let held = backend.named("k").acquire().unwrap();
            let (waker, answers) = asks(&backend);
            let mut waiting = Box::pin(way(backend.named("k").fair(true)).acquire_async());
            assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            drop(waker);
            drop(held);
            answers.try_recv().expect("it was woken by the release");
            // What is left of the waker went with the wake-up.
            answers.try_recv().expect("it was dropped");
            drop(waiting);
        });
    }
}

#[test]
fn c5_a_waker_can_ask_the_engine_that_drops_it() {
    ends("a waker that is dropped", || {
        let backend = Backend::new(Engine::new());
        let _held = backend.named("k").acquire().unwrap();
        let (waker, answers) = asks(&backend);
        let mut waiting = Box::pin(backend.named("k").acquire_async());
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        // Another one takes its place.
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        answers.try_recv().expect("it was dropped");
        let (waker, answers) = asks(&backend);
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        drop(waiting);
        answers.try_recv().expect("it was dropped with the request");
    });
}

#[test]
fn c8_who_hears_of_a_loss_can_ask_the_engine() {
    ends("a watcher that asks", || {
        let backend = Backend::new(Engine::new());
        let held = backend.named("k").acquire().unwrap();
        let (waker, answers) = asks(&backend);
        let mut lost = pin!(held.lost());
        assert!(lost.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        assert!(backend.evict("k", held.token()).block().unwrap());
        assert_eq!(answers.try_recv(), Ok(0), "it was woken, and nobody has `k` any more");
    });
}

#[cfg(feature = "tracing")]
#[test]
fn c8_a_subscriber_can_ask_the_engine_that_tells_it() {
    ends("a subscriber that asks", || {
        let backend = Backend::new(Engine::new());
        let held = backend.named("k").acquire().unwrap();
        let (told, losses) = channel();
        let asked = backend.clone();
        let asks = warnings(move |_| told.send(asked.list().unwrap().len()).unwrap());
        tracing::subscriber::with_default(asks, || {
            assert!(backend.evict("k", held.token()).block().unwrap());
        });
        assert_eq!(losses.try_recv(), Ok(0), "it was told of the loss after the fact");
    });
}

/// Notes that it was woken, and then panics, if it is that kind.
#[derive(Default)]
struct Woken {
    panics: bool,
    woken: AtomicBool,
}

/// What a waker panics with, without a word from the hook.
struct OnPurpose;

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        if self.panics {
            std::panic::resume_unwind(Box::new(OnPurpose));
        }
    }
}

#[track_caller]
fn until(what: &str, met: impl Fn() -> bool) {
    let start = Instant::now();
    while !met() {
        assert!(start.elapsed() < PATIENCE, "it never came about that {what}");
        thread::yield_now();
    }
}

#[test]
fn c2_a_waker_that_panics_does_not_end_the_timeouts_of_others() {
    let backend = Backend::new(Engine::new());
    let _held = backend.named("k").acquire().unwrap();
    let times_out = |panics| {
        let woken = Arc::new(Woken { panics, ..Woken::default() });
        let lock = backend.named("k").wait(Duration::from_millis(5));
        let mut waiting: Pin<Box<_>> = Box::pin(lock.acquire_async());
        let waker = Waker::from(woken.clone());
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        until("its time is up", || woken.woken.load(Ordering::SeqCst));
        waiting
    };
    let one = times_out(true);
    let other = times_out(false);
    drop((one, other));
}

#[test]
fn c3_a_waker_that_panics_keeps_no_other_from_being_woken() {
    let backend = Backend::new(Engine::new());
    let held = backend.named("k").fair(true).acquire().unwrap();
    let waits = |panics| {
        let woken = Arc::new(Woken { panics, ..Woken::default() });
        let mut waiting = Box::pin(backend.named("k").shared().acquire_async());
        let waker = Waker::from(woken.clone());
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        (woken, waiting)
    };
    let waiting = [true, false, false].map(waits);
    catch_unwind(AssertUnwindSafe(|| drop(held))).unwrap_err();
    for (woken, mut waiting) in waiting {
        assert!(woken.woken.load(Ordering::SeqCst));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
}

#[test]
fn c5_a_waker_that_panics_keeps_no_other_from_being_cancelled() {
    let backend = Backend::new(Engine::new());
    let _held = backend.named("k").acquire().unwrap();
    let cancel = CancelToken::new();
    let waits = |panics| {
        let woken = Arc::new(Woken { panics, ..Woken::default() });
        let mut waiting = Box::pin(backend.named("k").cancel_on(&cancel).acquire_async());
        let waker = Waker::from(woken.clone());
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        (woken, waiting)
    };
    let waiting = [true, false, false].map(waits);
    catch_unwind(AssertUnwindSafe(|| cancel.cancel())).unwrap_err();
    assert!(waiting.iter().all(|(woken, _)| woken.woken.load(Ordering::SeqCst)));
}

/// A clock that panics when it is asked for the time, if it is told to.
#[derive(Default)]
struct Panics {
    clock: ManualClock,
    panics: AtomicBool,
}

impl Clock for Panics {
    fn now(&self) -> Moment {
        if self.panics.load(Ordering::SeqCst) {
            std::panic::resume_unwind(Box::new(OnPurpose));
        }
        self.clock.now()
    }

    fn wake_at(&self, at: Moment, waker: Waker) -> Alarm {
        self.clock.wake_at(at, waker)
    }

    fn sleep_until(&self, at: Moment) -> Option<Duration> {
        self.clock.sleep_until(at)
    }
}

#[test]
fn c5_a_waiter_whose_poll_panics_leaves_the_queue_when_it_is_dropped() {
    let clock = Arc::new(Panics::default());
    let engine = Engine::builder().clock(clock.clone()).build();
    let backend = Backend::new(engine.clone());
    let held = backend.named("k").acquire().unwrap();
    // With a limit, or it would not ask for the time.
    let mut waiting = Box::pin(backend.named("k").wait(Duration::from_secs(60)).acquire_async());
    let mut poll = || waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
    assert!(!poll());
    clock.panics.store(true, Ordering::SeqCst);
    catch_unwind(AssertUnwindSafe(poll)).unwrap_err();
    clock.panics.store(false, Ordering::SeqCst);
    drop(waiting);
    drop(held);
    assert_eq!((engine.live_keys(), engine.known_keys()), (0, 0));
}

#[test]
fn c15_an_eviction_that_is_not_declared_ends_nothing() {
    use locks_core::{BackendInfo, Capabilities, ErrorKind, Exclusion, TokenScope};

    let can = Capabilities::plain(Exclusion::Process, TokenScope::Process);
    let engine = Engine::builder().about(BackendInfo::new("plain", can)).build();
    let backend = Backend::new(engine);
    let held = backend.named("k").acquire().unwrap();
    let refused = backend.evict("k", held.token()).block().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    held.check().expect("it ends nothing");
}
