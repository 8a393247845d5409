//! The engine, the vocabulary and the backend contract of [`locks`](https://docs.rs/locks).
//!
//! Users depend on `locks`; this crate is for those who bring a backend of their own. Start at
//! [`LockBackend`], or, for a store with leases, at `LeaseStore` (feature `leases`).
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod brief;
mod builder;
mod calls;
mod capabilities;
mod clock;
#[doc = include_str!("contract.md")]
pub mod contract {}
#[cfg(all(unix, feature = "directory"))]
#[doc(hidden)]
pub mod descriptors;
#[cfg(all(unix, feature = "directory"))]
#[doc(hidden)]
pub mod directory;
mod engine;
mod error;
pub mod fork;
#[cfg(not(any(loom, shuttle)))]
#[doc(hidden)]
pub mod forked;
mod guard;
mod handle;
mod identity;
mod info;
mod key;
#[cfg(feature = "leases")]
mod leased;
mod observe;
mod op;
mod options;
mod park;
mod request;
#[cfg(feature = "secrets")]
#[doc(hidden)]
pub mod secret_file;
mod site;
mod sync;
#[doc(hidden)]
pub mod thread;
mod token;

pub use backend::{Granted, Hold, LockBackend};
#[doc(hidden)]
pub use builder::StartedAcquire;
pub use builder::{Acquire, CancelToken, LockBuilder};
pub use capabilities::{BackendInfo, Capabilities, Exclusion, TokenScope, WaiterOrder};
pub use clock::{Alarm, Alarms, Clock, ManualClock, Moment, SystemClock};
pub use engine::{
    Bounds, Claim, ClaimSet, Completion, Engine, EngineBuilder, HoldRecord, Loss, Observer,
    PinnedCell, PinnedKey, TokenSource, Upstream, UpstreamEnd, UpstreamGrant, WeakEngine,
};
pub use error::{DeadlockStep, ErrorKind, LockError, LostCause};
pub use guard::{Guard, Lost, OwnedGuard};
pub use handle::Backend;
#[doc(hidden)]
pub use handle::WeakBackend;
#[doc(hidden)]
pub use identity::{Enters, Leaves};
pub use identity::{OwnerChain, OwnerId, Scope, Scoped, SharedOwner, current, scope};
pub use info::{HolderInfo, LockInfo, ProcessInfo, Query, WaiterInfo};
pub use key::{KeySet, Keys, MAX_KEY_LEN, check_key};
#[cfg(feature = "leases")]
pub use leased::{
    AcquisitionId, BootClock, Claimed, EntryState, LeaseClaim, LeaseEnd, LeaseEnding, LeaseEntry,
    LeasePlace, LeaseRenewal, LeaseStore, Leased, LeasedBuilder, Refusal, Renewed, Wake, WakeSink,
};
#[cfg(feature = "tracing")]
#[doc(hidden)]
pub use observe::EVENTS;
#[cfg(feature = "metrics")]
pub use observe::describe_metrics;
#[cfg(feature = "metrics")]
#[doc(hidden)]
pub use observe::{METRICS, Metric};
#[doc(hidden)]
pub use observe::{lost as report_lost, report_release, stolen as report_stolen};
pub use op::Op;
pub use options::{Kind, Mode, Options, Reserve, Wait};
#[cfg(not(any(loom, shuttle)))]
pub use park::{WaitPoint, wait_at};
pub use request::{Caller, Request};
pub use site::{CallSite, FunctionSite};
pub use token::Token;
