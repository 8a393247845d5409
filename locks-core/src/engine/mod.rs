//! The engine: a complete arbiter of named locks, and the in-process backend.
//!
//! A key's [`Slot`](table::Slot) is looked up in the [table]; a free one is taken with one
//! compare-and-swap. Everything else happens in the slot's [state], under its mutex, and nowhere
//! else. Mutexes are taken in this order: the deadlock graph's, then a slot's; a shard's is never
//! held together with another.
//!
//! The files here are what others see of an engine. Each room uses those below it, and none of them
//! the files here:
//!
//! | room | what is in it |
//! |---|---|
//! | [acquire] | the ways to a hold, and what becomes of it |
//! | [inspect] | what can be seen: holders and waiters, deadlocks, grants as records |
//! | [table] | where keys live, and what one compare-and-swap decides |
//! | [state] | what goes on around one key: pure, it leaves effects |
//! | [ports] | what an engine is connected to: clock, tokens, upstream, observer |

mod acquire;
mod backend;
mod builder;
mod inspect;
mod journal;
mod pinned_key;
mod ports;
mod state;
mod table;

use std::fmt;
use std::sync::{Arc, Weak};

pub(crate) use self::acquire::{Attempt, PendingHold};
pub use self::builder::EngineBuilder;
pub use self::ports::{
    Bounds, Claim, ClaimSet, Completion, Loss, Observer, TokenSource, Upstream, UpstreamEnd,
    UpstreamGrant,
};
pub use self::state::HoldRecord;
use self::table::Core;
pub(crate) use self::table::{Nesting, SlotHold, SlotRef};
pub use self::table::{PinnedCell, PinnedKey};
use crate::fork::Inherited;
use crate::{BackendInfo, Capabilities, LostCause, Token};

/// The in-process backend: queues, shared and exclusive holds, permits, stealing, re-entry,
/// deadlock detection, fencing tokens and introspection, in the memory of this process.
///
/// Clones refer to the same engine. [`Engine::process`] is the one that the whole process shares;
/// an engine of your own is separate from it, for tests, for a server that holds locks for its
/// clients, or in front of an [`Upstream`].
///
/// # Examples
/// ```
/// use locks::Backend;
/// use locks::backend::Engine;
///
/// let backend = Backend::new(Engine::new());
/// let _guard = backend.named("report").acquire()?;
/// assert!(locks::named("report").wait(false).acquire().is_ok()); // another engine
/// # Ok::<(), locks::LockError>(())
/// ```
#[derive(Clone)]
pub struct Engine {
    core: Arc<Core>,
}

/// A weak handle to an [`Engine`], which does not keep it alive; see [`Engine::downgrade`].
#[derive(Clone)]
pub struct WeakEngine(Weak<Core>);

static PROCESS: Inherited<Engine> = Inherited::new();

impl Engine {
    /// Creates an engine that is separate from all others.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Creates a builder for an engine with its own clock, tokens, observer or upstream.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::new(BackendInfo::new("memory:", Capabilities::process()))
    }

    /// Returns the engine that this process shares.
    #[inline]
    pub fn process() -> &'static Self {
        PROCESS.get_or_init(Engine::new)
    }

    /// Creates a weak handle.
    pub fn downgrade(&self) -> WeakEngine {
        WeakEngine(Arc::downgrade(&self.core))
    }

    /// Revokes the hold or reservation of `key` with this token and grants the key to the next
    /// waiter; the guard reports `cause`. Returns `true` if it existed.
    pub fn lose(&self, key: &str, token: Token, cause: LostCause) -> bool {
        self.core.end(key, token, cause)
    }

    /// Returns the number of keys in use: held, waited for, reserved, or with a lost guard that has
    /// not been dropped ([C13](crate::contract#c13-no-leaks)).
    pub fn live_keys(&self) -> usize {
        self.core.registry.live_keys()
    }

    /// Keeps the slot of a key for ever, as a literal call site does at the engine of the process.
    #[cfg(any(loom, shuttle))]
    #[doc(hidden)]
    pub fn keep(&self, key: &str) -> bool {
        self.core.registry.pin_forever(key).is_some()
    }

    /// Returns the number of keys in memory: those in use, and those that a call site has pinned
    /// ([C13](crate::contract#c13-no-leaks)).
    pub fn known_keys(&self) -> usize {
        self.core.registry.slots()
    }
}

impl WeakEngine {
    /// Returns the engine, unless all of its handles have been dropped.
    pub fn upgrade(&self) -> Option<Engine> {
        self.0.upgrade().map(|core| Engine { core })
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({}, {} keys in use)", self.core.about.name, self.live_keys())
    }
}

impl fmt::Debug for WeakEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakEngine")
    }
}
