use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use locks_core::LeaseStore;

/// A store under test, with what the kit needs to test it.
///
/// A fixture stands for one store with nothing in it yet, and two clients of it: each case gets a
/// fixture of its own, and expects every key to be free.
pub trait StoreFixture: Send + Sync + 'static {
    /// Returns a client of the store; the same one at every call.
    fn store(&self) -> Arc<dyn LeaseStore>;

    /// Returns another client of the same store, as another process would have it; the same one at
    /// every call.
    fn rival(&self) -> Arc<dyn LeaseStore>;

    /// Returns the grain of the store's time, as [`Fixture::tick`](crate::Fixture::tick).
    fn tick(&self) -> Duration {
        Duration::from_millis(10)
    }

    /// Returns the shortest lease that a claim may ask for.
    fn lease(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Returns the real time that a step may take before it counts as a hang.
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// Returns the time on the store's clock, counted from any fixed point.
    fn now(&self) -> Duration {
        crate::fixture::since_start()
    }

    /// Advances the store's clock by at least `by`: sleeps, unless the clock can be set.
    fn advance(&self, by: Duration) {
        std::thread::sleep(by);
    }

    /// Returns a client of the store after a crash: its memory is lost and its durable state read
    /// again. For stores whose tokens outlive their process
    /// ([C7](locks_core::contract#c7-fencing-tokens)).
    fn restart(&self) -> Option<Arc<dyn LeaseStore>> {
        None
    }
}

impl fmt::Debug for dyn StoreFixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreFixture({})", self.store().about().name)
    }
}
