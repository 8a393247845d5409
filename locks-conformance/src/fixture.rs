use std::fmt;
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use locks_core::{Backend, Exclusion};

/// A backend under test, with what the kit needs to test it.
///
/// A fixture stands for one arbiter with nothing in it yet: each case gets a fixture of its own,
/// and expects every key to be free. `Backend` is itself a fixture, for a backend that runs in real
/// time and in one process; one whose holders can be other processes gives a [`rival`](Self::rival)
/// and a [`child`](Self::child) as well, and cases that need them fail without them.
///
/// ```
/// use locks::Backend;
/// use locks::backend::Engine;
/// use locks::conformance::Fixture;
///
/// struct InProcess(Engine, Backend);
///
/// impl Fixture for InProcess {
///     fn backend(&self) -> Backend {
///         self.1.clone()
///     }
///
///     fn tick(&self) -> std::time::Duration {
///         std::time::Duration::from_millis(5)
///     }
/// }
/// ```
pub trait Fixture: Send + Sync + 'static {
    /// Returns a handle to the backend: the same client at every call.
    fn backend(&self) -> Backend;

    /// Returns the grain of the backend's clock. Nothing may happen early, and nothing more than
    /// two ticks late ([C6](locks_core::contract#c6-stealing)). The kit's durations are multiples
    /// of it. 10 ms by default.
    fn tick(&self) -> Duration {
        Duration::from_millis(10)
    }

    /// Returns the shortest lease that a request may ask for, on backends that have leases. 1 s by
    /// default.
    fn lease(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Returns the real time for which the kit waits for something that should happen at once,
    /// before it reports a hang. 10 s by default; a whole case may take twelve times as long.
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// Returns the time on the backend's clock, counted from any fixed point.
    fn now(&self) -> Duration {
        since_start()
    }

    /// Advances the backend's clock by at least `by`: sleeps, unless the clock can be set.
    fn advance(&self, by: Duration) {
        std::thread::sleep(by);
    }

    /// Returns another client of the same backend, with a connection, session or instance of its
    /// own, as another process would have it. The same one at every call.
    fn rival(&self) -> Option<Backend> {
        None
    }

    /// Returns a program that opens the same backend and runs [`serve`](super::serve) on it. A test
    /// can start its own executable with a variable set in the environment.
    fn child(&self) -> Option<Command> {
        None
    }

    /// Returns `true` if a child that was forked without `exec` acquires anew by its parent's
    /// handle. If `false`, its requests have to fail with `Unavailable`
    /// ([C4](locks_core::contract#c4-release)).
    fn works_in_children(&self) -> bool {
        true
    }

    /// Restarts the backend as after a crash, with its memory lost and its durable state read
    /// again, and returns a handle to it. For backends whose tokens outlive the process
    /// ([C7](locks_core::contract#c7-fencing-tokens)).
    fn restart(&self) -> Option<Backend> {
        None
    }

    /// Returns `true` if the backend passes over a waiter that it has called and that does not come
    /// within a fraction of a second, so that on a machine that is late by as much waiters are
    /// served in another order. A case that fails while threads of this process woke late, by more
    /// than a [`tick`](Self::tick) altogether within a quarter of a second, is run again then, on a
    /// fresh fixture, three times in all.
    fn passes_over_late_waiters(&self) -> bool {
        false
    }

    /// Stops the backend from answering, as a hung server does, or lets it continue. Returns
    /// `false` if that cannot be done ([C2](locks_core::contract#c2-waiting)).
    fn hang(&self, hangs: bool) -> bool {
        let _ = hangs;
        false
    }

    /// Returns the number of waiters for cases with a long queue. Each costs a remote backend a
    /// round trip or more. 2,000 by default within a process, and 50 beyond it.
    fn crowd(&self) -> usize {
        match self.backend().about().capabilities.exclusion {
            Exclusion::Process => 2000,
            _ => 50,
        }
    }

    /// Returns the number of keys for which the backend keeps anything in memory
    /// ([C13](locks_core::contract#c13-no-leaks)), if it can be counted.
    fn live_keys(&self) -> Option<usize> {
        None
    }
}

pub(crate) fn since_start() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

impl Fixture for Backend {
    fn backend(&self) -> Backend {
        self.clone()
    }
}

impl fmt::Debug for dyn Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fixture({:?})", self.backend())
    }
}
