//! The engine: a complete arbiter of named locks, and the in-process backend.
//!
//! A key's [`Slot`](slot::Slot) is looked up in the [registry](registry); a free one is taken with
//! one compare-and-swap. Everything else happens in the slot's [state](state), under its mutex, and
//! nowhere else. Mutexes are taken in this order: the deadlock graph's, then a slot's; a shard's is
//! never held together with another.

mod backend;
mod builder;
mod completion;
mod core;
mod describe;
mod effects;
mod graph;
mod observer;
mod pin;
mod pinned;
mod queued;
mod records;
mod registry;
mod resident;
mod several;
mod slot;
mod state;
mod swift;
mod turn;
mod upstream;

use std::fmt;
use std::sync::{Arc, LazyLock, Weak};

pub use self::builder::{EngineBuilder, TokenSource};
pub(crate) use self::core::Core;
pub use self::observer::{Loss, Observer};
pub use self::pinned::PinnedKey;
pub(crate) use self::queued::{Begun, Waiting};
pub use self::records::HoldRecord;
pub(crate) use self::slot::{Slot, SlotRef};
pub use self::upstream::{Bounds, Claim, ClaimSet, Completion, Turn, Upstream};
use crate::{About, Capabilities, LostCause, Token};

/// A complete arbiter of named locks in this process's memory: queues, shared and exclusive holds,
/// permits, stealing, re-entry, deadlock detection, fencing tokens, introspection.
///
/// Clones are the same engine. [`Engine::process`] is the one that everybody in the process shares.
/// An engine of one's own is apart from it: for tests, for a server that holds locks for others, or
/// in front of an [`Upstream`].
#[derive(Clone)]
pub struct Engine {
    core: Arc<Core>,
}

/// A handle that does not keep its engine; see [`Engine::downgrade`].
#[derive(Clone)]
pub struct WeakEngine(Weak<Core>);

static PROCESS: LazyLock<Engine> = LazyLock::new(Engine::new);

impl Engine {
    /// An engine of its own.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// An engine with its own clock, tokens or upstream.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::new(About::new("memory:", Capabilities::process()))
    }

    /// The engine that everybody in this process shares.
    #[inline]
    pub fn process() -> &'static Self {
        &PROCESS
    }

    /// A handle that does not keep the engine.
    pub fn downgrade(&self) -> WeakEngine {
        WeakEngine(Arc::downgrade(&self.core))
    }

    /// Ends the hold or reservation of `key` with this token, for this reason: its guard is lost,
    /// and whoever is next gets its turn. Says whether there was one.
    pub fn lose(&self, key: &str, token: Token, cause: LostCause) -> bool {
        self.core.end(key, token, cause)
    }

    /// How many keys are in use: held, waited for, reserved, or with a lost guard that still lives
    /// (C13).
    pub fn live_keys(&self) -> usize {
        self.core.registry.live_keys()
    }

    /// How many keys the engine remembers: those in use, and those that a call site has pinned
    /// (C13).
    pub fn known_keys(&self) -> usize {
        self.core.registry.slots()
    }
}

impl WeakEngine {
    /// The engine, if somebody still has it.
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
