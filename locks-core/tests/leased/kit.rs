//! The conformance kit over the store in memory, on a clock that is set by hand, with another
//! client of the same store as the rival.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use locks_conformance::{Case, Fixture};
use locks_core::{Alarm, Backend, Clock, Leased, ManualClock, Moment};

use crate::store::MemoryStore;

/// A clock that is set by hand, and shows another time to each that looks: waiters are told apart
/// by when they came.
struct Ticking(ManualClock, AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Moment {
        self.0.now().after(Duration::from_nanos(self.1.fetch_add(1, Ordering::Relaxed)))
    }

    fn wake_at(&self, at: Moment, waker: Waker) -> Alarm {
        let at = if at <= self.now() { self.0.now() } else { at };
        self.0.wake_at(at, waker)
    }

    fn sleep_until(&self, _: Moment) -> Option<Duration> {
        None
    }
}

struct Clients {
    clock: ManualClock,
    store: MemoryStore,
    ours: Backend,
    theirs: Backend,
}

fn client(store: &MemoryStore, clock: &Arc<Ticking>) -> Backend {
    Leased::builder(store.clone()).clock(clock.clone()).build().into_backend()
}

fn clients() -> Clients {
    let clock = ManualClock::new();
    let ticking = Arc::new(Ticking(clock.clone(), AtomicU64::new(0)));
    let store = MemoryStore::new(ticking.clone(), true);
    let (ours, theirs) = (client(&store, &ticking), client(&store, &ticking));
    Clients { clock, store, ours, theirs }
}

impl Fixture for Clients {
    fn backend(&self) -> Backend {
        self.ours.clone()
    }

    fn now(&self) -> Duration {
        self.clock.now().since(Moment::from_nanos(0))
    }

    /// Advances in small steps, so that renewals come due one after the other.
    fn advance(&self, by: Duration) {
        let mut left = by;
        while left > Duration::ZERO {
            let step = left.min(Duration::from_millis(50));
            self.clock.advance(step);
            left -= step;
            self.store.await_renewals();
        }
    }

    fn rival(&self) -> Option<Backend> {
        Some(self.theirs.clone())
    }
}

#[test]
fn the_conformance_kit() {
    // A store in memory has no other processes; those cases run over the example's table.
    let cases = Case::all().iter().filter(|case| !case.needs_child()).collect::<Vec<_>>();
    let only = std::env::var("KIT_CASE").unwrap_or_default();
    let failed = cases.iter().filter(|case| case.name().contains(&only)).filter(|case| {
        let run = || case.run(Arc::new(clients()));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
    });
    let failed = failed.map(|case| case.name()).collect::<Vec<_>>();
    assert!(failed.is_empty(), "{failed:#?} of {} cases", cases.len());
}
