//! Stores with leases: the adapter's promises over a store in memory that can be made to fail.

#[path = "leased/store.rs"]
mod store;

#[cfg(feature = "conformance")]
#[path = "leased/kit.rs"]
mod kit;
