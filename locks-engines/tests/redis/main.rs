//! The Redis backend against real servers, each test's own: on a free port, in a directory of its
//! own.
//!
//! `c` in a test's name stands for a clause of the contract, `row` for a row of the table of
//! faults.

#[path = "../support/mod.rs"]
mod support;

mod child;
mod cluster;
mod conformance;
mod data;
mod faults;
mod old;
mod refused;
mod sentinel;
mod server;
mod steps;
mod storm;
mod tls;
