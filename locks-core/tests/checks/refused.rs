//! Deadlocks that come about while another one is being refused (C10).

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use locks_core::{
    Alarm, Backend, Clock, Engine, ErrorKind, LockError, ManualClock, Moment, Op, OwnedGuard,
};

use crate::polled::Polled;

/// A clock at whose readings something else can happen.
#[derive(Default)]
struct Interrupted {
    clock: ManualClock,
    plan: Mutex<Plan>,
}

#[derive(Default)]
struct Plan {
    readings: usize,
    /// Before which reading, and what.
    interruption: Option<(usize, Box<dyn FnOnce() + Send>)>,
}

impl Clock for Interrupted {
    fn now(&self) -> Moment {
        let due = {
            let mut plan = self.plan.lock().unwrap();
            plan.readings += 1;
            let readings = plan.readings;
            plan.interruption.take_if(|(at, _)| *at == readings)
        };
        if let Some((_, run)) = due {
            run();
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

/// Everybody in two circles that share the key `s`: 1 waits for 2 and 2 for 1; 4 waits for 5, and
/// for 1, and 5 for 4. Both are closed by the wait of 1 and that of 4, which are to come.
struct Circles {
    backend: Backend,
    clock: Arc<Interrupted>,
    /// By 1.
    first: Vec<OwnedGuard>,
    /// By 2, 4 and 5.
    others: Vec<OwnedGuard>,
    second: Polled,
    fifth: Polled,
}

impl Circles {
    fn new() -> Self {
        let clock = Arc::new(Interrupted::default());
        let backend = Backend::new(Engine::builder().clock(clock.clone()).build());
        let take = Polled::at_once;
        let named = |key: &'static str, owner: u64| backend.named(key).owner(owner);
        let first = vec![take(named("a", 1)), take(named("s", 1).shared())];
        let others = vec![take(named("b", 2)), take(named("d", 4)), take(named("s", 5).shared())];
        let second = Polled::waiting(named("a", 2));
        let fifth = Polled::waiting(named("d", 5));
        Self { backend, clock, first, others, second, fifth }
    }

    /// 1 asks for `b`, which closes the first circle; `meanwhile` happens before the reading of the
    /// clock with this number, of those that this takes. How many it took.
    fn close_first(&mut self, interruption: Option<(usize, Box<dyn FnOnce() + Send>)>) -> usize {
        *self.clock.plan.lock().unwrap() = Plan { readings: 0, interruption };
        match Polled::new(self.backend.named("b").owner(1)).poll() {
            Poll::Ready(Err(error)) => assert_eq!(error.kind(), ErrorKind::Deadlock, "{error}"),
            other => panic!("{other:?}"),
        }
        let plan = std::mem::take(&mut *self.clock.plan.lock().unwrap());
        assert!(plan.interruption.is_none(), "it was not interrupted");
        plan.readings
    }
}

/// Who waits by hand, and what came of the first poll.
type Begun = (Polled, Poll<Result<OwnedGuard, LockError>>);

#[test]
fn c10_a_wait_that_is_refused_hides_no_other_deadlock() {
    // The last reading is made when the refused wait leaves the queue.
    let readings = Circles::new().close_first(None);
    let mut circles = Circles::new();
    let backend = circles.backend.clone();
    let (begun, beginning) = channel::<Begun>();
    let interruption = move || {
        let fourth = thread::spawn(move || {
            let mut fourth = Polled::new(backend.named("s").owner(4));
            let polled = fourth.poll();
            begun.send((fourth, polled)).unwrap();
        });
        fourth.join().unwrap();
    };
    circles.close_first(Some((readings, Box::new(interruption))));
    let (fourth, polled) = beginning.try_recv().unwrap();
    // 1 gives up and lets go of everything; whether 4 and 5 go on is up to them.
    circles.first.clear();
    match polled {
        Poll::Ready(Err(error)) => assert_eq!(error.kind(), ErrorKind::Deadlock, "{error}"),
        Poll::Ready(Ok(guard)) => panic!("C1: 5 has `s` as well as {guard:?}"),
        Poll::Pending => panic!("4 and 5 wait for each other for ever"),
    }
    drop(fourth);
    drop(circles.second.granted());
    circles.others.clear();
    drop(circles.fifth.granted());
}

#[test]
fn c10_an_acquisition_by_hand_that_the_thread_is_blocked_on_is_the_threads_own() {
    let backend = Backend::new(Engine::new());
    let held = backend.named("k").acquire().unwrap();
    let again = backend.clone();
    let op = Op::later(async move { again.named("k").acquire_async().await.map(drop) });
    let error = op.block().expect_err("it would wait for itself");
    assert_eq!(error.kind(), ErrorKind::Deadlock, "{error}");
    drop(held);
    drop(backend.named("k").wait(false).acquire().unwrap());
}
