//! Servers, clients and the processes between which they arbitrate, with everything that can happen
//! to processes and connections.
//!
//! `c` and `n` in a test's name stand for a clause of the contract, `row` for a row of the table
//! of faults. `README.md` beside this directory says what each was seen to notice.
#![cfg(target_os = "linux")]

mod commands;
mod conformance;
mod crashes;
mod crowds;
mod cuts;
mod cycles;
mod directory;
mod exhausted;
#[path = "../../../locks-file/tests/processes/fork.rs"]
mod fork;
mod forks;
mod hosts;
#[path = "../../../locks-file/tests/processes/means.rs"]
mod means;
mod messages;
mod namespaces;
mod newcomers;
mod partitions;
#[path = "../../../locks-file/tests/processes/peer/mod.rs"]
mod peer;
mod place;
#[path = "../../../locks-file/tests/processes/polled.rs"]
mod polled;
mod program;
mod proxy;
mod reaching;
mod restarts;
mod serving;
mod stopped;
mod strangers;
mod torture;
