//! Stores with leases: the adapter's promises over a store in memory that can be made to fail.
//!
//! `f` in a test's name stands for a row of the table of faults, `c` for a clause.

#![cfg(all(feature = "leases", not(any(loom, shuttle))))]

#[path = "leased/answers.rs"]
mod answers;
#[path = "leased/claims.rs"]
mod claims;
#[path = "leased/faults.rs"]
mod faults;
#[path = "leased/gate.rs"]
mod gate;
#[path = "leased/kit.rs"]
mod kit;
#[cfg(feature = "tracing")]
#[path = "checks/listens.rs"]
mod listens;
#[cfg(unix)]
#[path = "leased/processes.rs"]
mod processes;
#[path = "leased/renewal.rs"]
mod renewal;
#[path = "leased/rig.rs"]
mod rig;
#[path = "leased/sets.rs"]
mod sets;
#[path = "leased/slow.rs"]
mod slow;
#[path = "leased/store.rs"]
mod store;
#[path = "leased/table.rs"]
mod table;
#[path = "leased/too_late.rs"]
mod too_late;
#[cfg(feature = "tracing")]
#[path = "leased/unobserved.rs"]
mod unobserved;
