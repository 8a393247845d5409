//! The controls of the cases for stores: a store in memory as plain as can be passes them, alone
//! and behind `Leased`, at once and slowly; with one flaw at a time it fails those that name it.
#![cfg(feature = "leases")]

mod behind;
mod controls;
mod flaw;
mod queue;
mod store;
mod table;

use locks_conformance::lease_store;

use store::Shared;

lease_store!(plain, Shared::sound);
