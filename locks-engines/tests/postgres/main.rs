//! The PostgreSQL backend against real servers: one for those cases that only use it, each in a
//! schema of its own, and servers of their own for those that stop, kill or set them.
//!
//! `c` in a test's name stands for a clause of the contract, `row` for a row of the table of
//! faults.

#[path = "../support/mod.rs"]
mod support;

mod child;
mod conformance;
mod data;
mod faults;
mod hostile;
mod pooler;
mod refused;
mod server;
mod steps;
mod storm;
mod take;
