//! Clients of a server that runs in this process, and clients in processes of their own.
//!
//! `c` and `n` in a test's name stand for a clause of the contract, `row` for a row of the table of
//! faults.
#![cfg(target_os = "linux")]

mod faults;
mod place;
mod program;
mod words;
