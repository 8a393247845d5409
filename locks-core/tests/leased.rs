//! Stores with leases: the adapter's promises over a store in memory that can be made to fail.
//!
//! `f` in a test's name stands for a row of the table of faults, `c` for a clause.

#![cfg(all(feature = "leases", not(any(loom, shuttle))))]

#[path = "leased/claims.rs"]
mod claims;
#[path = "leased/gate.rs"]
mod gate;
#[path = "leased/kit.rs"]
mod kit;
#[cfg(feature = "tracing")]
#[path = "checks/listens.rs"]
mod listens;
#[path = "leased/renewal.rs"]
mod renewal;
#[path = "leased/rig.rs"]
mod rig;
#[path = "leased/store.rs"]
mod store;
#[cfg(feature = "tracing")]
#[path = "leased/unheard.rs"]
mod unheard;
