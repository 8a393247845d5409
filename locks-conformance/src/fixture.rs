use std::fmt;
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use locks_core::{Backend, Exclusion};

/// What the kit needs to know of a backend in order to test it.
///
/// A fixture stands for one arbiter with nothing in it yet: each case gets a fixture of its own,
/// and expects every key to be free. `Backend` is itself a fixture, for a backend that runs in
/// real time and in one process; one whose holders can be other processes gives a
/// [`rival`](Self::rival) and a [`child`](Self::child) as well, and cases that need them fail
/// for want of them.
///
/// ```
/// use locks_conformance::Fixture;
/// use locks_core::{Backend, Engine};
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
    /// A handle to the arbiter; the same one, by the same client, at every call.
    fn backend(&self) -> Backend;

    /// The grain of the arbiter's time. Nothing may happen early, and nothing more than two
    /// ticks late (C6). The kit's durations are multiples of it.
    fn tick(&self) -> Duration {
        Duration::from_millis(10)
    }

    /// The shortest lease that a request may ask for, on backends that have leases.
    fn lease(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// How long, in real time, the kit waits for what should happen at once before it calls it
    /// a hang.
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// The time on the arbiter's clock, counted from any fixed point.
    fn now(&self) -> Duration {
        since_start()
    }

    /// Lets the arbiter's clock go on by at least `by`: sleeps, unless the clock can be set.
    fn advance(&self, by: Duration) {
        std::thread::sleep(by);
    }

    /// Another client of the same arbiter: another connection, session or instance, as
    /// another process would have it. The same one at every call.
    fn rival(&self) -> Option<Backend> {
        None
    }

    /// A program that opens the same arbiter and runs [`serve`](super::serve) on it. A test
    /// can start its own executable with a variable set in the environment.
    fn child(&self) -> Option<Command> {
        None
    }

    /// The arbiter's memory lost and its durable state read again, as after a crash: a handle
    /// to what comes back. For backends whose tokens outlive the process (C7).
    fn restart(&self) -> Option<Backend> {
        None
    }

    /// Has the arbiter stand still, as one that is stopped or hangs does, or go on; `false` if that
    /// cannot be done (C2).
    fn hang(&self, hangs: bool) -> bool {
        let _ = hangs;
        false
    }

    /// Returns how many waiters stand in one queue where there are many of them. Each costs an arbiter
    /// elsewhere a round trip or more.
    fn crowd(&self) -> usize {
        match self.backend().about().capabilities.exclusion {
            Exclusion::Process => 2000,
            _ => 50,
        }
    }

    /// For how many keys the arbiter keeps anything in memory (C13), where that can be counted.
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
