//! For those who bring a backend of their own: the trait, and what it is asked and answers.
//!
//! A store with leases (a table, a key-value service) implements [`LeaseStore`] and gets a
//! [`LockBackend`] from [`Leased`]. Anything else implements [`LockBackend`] itself. The
//! conformance kit (feature `conformance`) tests either, clause by clause. The example
//! `own_backend` does all of it over an SQLite table.

#[cfg(feature = "conformance")]
pub use locks_core::conformance;
pub use locks_core::{
    About, AcquisitionId, Alarm, Alarms, BootClock, Caller, Capabilities, Claim, Claimed, Clock,
    Engine, EngineBuilder, Exclusion, Granted, Hold, KeySet, Keys, LeaseClaim, LeaseEnd,
    LeaseEntry, LeaseRenewal, LeaseStore, Leased, LeasedBuilder, LockBackend, ManualClock, Moment,
    Op, Query, Renewed, Request, SystemClock, TokenScope, TokenSource, Turn, Upstream, WaiterOrder,
    Wake, WeakEngine, Within, check_key,
};
