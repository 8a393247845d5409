//! For those who bring a backend of their own: the trait, and what it is asked and answers.
//!
//! A store with leases (a table, a key-value service) implements `LeaseStore` and gets a
//! [`LockBackend`] from `Leased` (feature `leases`). Anything else implements [`LockBackend`]
//! itself. The conformance kit (feature `conformance`) tests either, clause by clause. The example
//! `own_backend` does all of it over an SQLite table.

#[cfg(feature = "conformance")]
#[doc(inline)]
pub use locks_conformance as conformance;
#[cfg(feature = "conformance")]
pub use locks_conformance::conformance;
#[cfg(feature = "leases")]
pub use locks_core::{
    AcquisitionId, BootClock, Claimed, EntryState, LeaseClaim, LeaseEnd, LeaseEnding, LeaseEntry,
    LeasePlace, LeaseRenewal, LeaseStore, Leased, LeasedBuilder, Refusal, Renewed, Wake, WakeSink,
};
pub use locks_core::{
    Alarm, Alarms, BackendInfo, Bounds, Caller, Capabilities, Claim, ClaimSet, Clock, Completion,
    Engine, EngineBuilder, Exclusion, Granted, Hold, HoldRecord, KeySet, Keys, LockBackend, Loss,
    ManualClock, Moment, Observer, Op, OwnerChain, Query, Request, SystemClock, TokenScope,
    TokenSource, Upstream, UpstreamEnd, UpstreamGrant, WaiterOrder, WeakEngine, check_key,
};
