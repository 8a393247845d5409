//! The conformance kit over the store in memory, on a clock that is set by hand, with another
//! client of the same store as the rival.

use std::sync::Arc;
use std::time::Duration;

use locks_conformance::{Case, Fixture};
use locks_core::{Backend, Clock, Leased, ManualClock, Moment};

use crate::store::MemoryStore;

struct Clients {
    clock: ManualClock,
    store: MemoryStore,
    ours: Backend,
    theirs: Backend,
}

fn client(store: &MemoryStore, clock: &ManualClock) -> Backend {
    Leased::builder(store.clone()).clock(Arc::new(clock.clone())).build().into_backend()
}

fn clients() -> Clients {
    let clock = ManualClock::new();
    let store = MemoryStore::new(Arc::new(clock.clone()), true);
    let (ours, theirs) = (client(&store, &clock), client(&store, &clock));
    Clients { clock, store, ours, theirs }
}

impl Fixture for Clients {
    fn backend(&self) -> Backend {
        self.ours.clone()
    }

    fn now(&self) -> Duration {
        self.clock.now().since(Moment::from_nanos(0))
    }

    /// In small steps, so that whoever renews gets to see the time pass.
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

/// A store in memory has no other processes; the same cases run over the example's table.
const OF_OTHER_PROCESSES: [&str; 4] = [
    "c1_processes_exclude_each_other",
    "c4_a_killed_process_frees_its_locks",
    "c5_a_killed_process_leaves_the_queue",
    "c8_a_stopped_process_learns_of_its_loss",
];

#[test]
fn the_conformance_kit() {
    let (apart, cases): (Vec<&Case>, Vec<_>) =
        Case::all().iter().partition(|case| OF_OTHER_PROCESSES.contains(&case.name()));
    assert_eq!(apart.len(), OF_OTHER_PROCESSES.len());
    let failed = cases.iter().filter(|case| {
        let run = || case.run(Arc::new(clients()));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
    });
    let failed = failed.map(|case| case.name()).collect::<Vec<_>>();
    assert!(failed.is_empty(), "{failed:#?} of {} cases", cases.len());
}
