//! The etcd backend against real servers, on free ports and in directories of their own.
//!
//! `c` in a test's name stands for a clause of the contract, `row` for a row of the table of
//! faults.

#[path = "../support/mod.rs"]
mod support;

mod access;
mod child;
mod conformance;
mod faults;
mod members;
mod server;
mod steps;
mod storm;
