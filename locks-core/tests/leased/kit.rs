//! The conformance kit over the store in memory, on a clock that is set by hand, with another
//! client of the same store as the rival.

use std::sync::Arc;
use std::time::Duration;

use locks_core::conformance::Fixture;
use locks_core::{Backend, Clock, Leased, ManualClock, Moment};

use crate::store::MemoryStore;

struct Clients {
    clock: ManualClock,
    ours: Backend,
    theirs: Backend,
}

fn client(store: &MemoryStore, clock: &ManualClock) -> Backend {
    Leased::builder(store.clone()).clock(Arc::new(clock.clone())).build().into_backend()
}

fn clients() -> Clients {
    let clock = ManualClock::new();
    let store = MemoryStore::with_hints(Arc::new(clock.clone()), true);
    Clients { ours: client(&store, &clock), theirs: client(&store, &clock), clock }
}

impl Fixture for Clients {
    fn backend(&self) -> Backend {
        self.ours.clone()
    }

    fn now(&self) -> Duration {
        self.clock.now().since(Moment::from_nanos(0))
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn rival(&self) -> Option<Backend> {
        Some(self.theirs.clone())
    }
}

locks_core::conformance!(in_memory, clients);
