//! The kit over the engine, with a clock that is set by hand and with the system's.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use locks_conformance::{Fixture, conformance};
use locks_core::{Backend, Engine, ManualClock};

struct ByHand {
    engine: Engine,
    clock: ManualClock,
    passed: Mutex<Duration>,
}

impl ByHand {
    fn new() -> Self {
        let clock = ManualClock::new();
        let engine = Engine::builder().clock(Arc::new(clock.clone())).build();
        Self { engine, clock, passed: Mutex::default() }
    }
}

impl Fixture for ByHand {
    fn backend(&self) -> Backend {
        Backend::new(self.engine.clone())
    }

    fn now(&self) -> Duration {
        *self.passed.lock().unwrap()
    }

    fn advance(&self, by: Duration) {
        *self.passed.lock().unwrap() += by;
        self.clock.advance(by);
    }

    fn live_keys(&self) -> Option<usize> {
        Some(self.engine.live_keys())
    }
}

conformance!(by_hand, ByHand::new);
conformance!(in_real_time, || Backend::new(Engine::new()));
