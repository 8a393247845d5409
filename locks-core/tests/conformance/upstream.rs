//! The kit over an engine in front of an upstream, with another engine in front of the same one as
//! the rival.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use locks_conformance::{Fixture, conformance};
use locks_core::{Backend, BackendInfo, Capabilities, Engine, ManualClock, WaiterOrder};

use crate::shelf::Shelf;

struct Shared {
    clock: ManualClock,
    passed: Mutex<Duration>,
    ours: Engine,
    theirs: Engine,
}

fn engine(shelf: &Shelf, clock: &ManualClock) -> Engine {
    let mut can = Capabilities::process();
    can.order = WaiterOrder::WithinProcess;
    let builder = Engine::builder().about(BackendInfo::new("shelf:", can));
    let upstream = Arc::new(shelf.clone());
    let engine = builder.clock(Arc::new(clock.clone())).upstream(upstream).build();
    shelf.tell(engine.downgrade());
    engine
}

impl Shared {
    fn new() -> Self {
        let clock = ManualClock::new();
        let shelf = Shelf::new(clock.clone());
        let (ours, theirs) = (engine(&shelf, &clock), engine(&shelf, &clock));
        Self { clock, passed: Mutex::default(), ours, theirs }
    }
}

impl Fixture for Shared {
    fn backend(&self) -> Backend {
        Backend::new(self.ours.clone())
    }

    fn rival(&self) -> Option<Backend> {
        Some(Backend::new(self.theirs.clone()))
    }

    fn now(&self) -> Duration {
        *self.passed.lock().unwrap()
    }

    fn advance(&self, by: Duration) {
        *self.passed.lock().unwrap() += by;
        self.clock.advance(by);
    }

    fn live_keys(&self) -> Option<usize> {
        Some(self.ours.live_keys())
    }
}

conformance!(behind_an_upstream, Shared::new);
