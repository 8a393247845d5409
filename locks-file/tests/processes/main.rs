//! The file backend among real processes: holders that are killed, stopped and forked, outsiders
//! that lock, delete and replace its files, and file systems that refuse.
//!
//! `c` and `f` in a test's name stand for a clause of the contract, `row` for a row of the table
//! of faults. `README.md` beside this directory says what each was seen to notice.
#![cfg(target_os = "linux")]
#![allow(clippy::incompatible_msrv, reason = "tests need the newest compiler, users do not")]

mod cancelled;
mod commands;
mod conformance;
mod crashes;
mod cycles;
mod directory;
mod directory_books;
mod fairness;
mod foreign;
mod fork;
mod forked;
mod guests;
mod keys;
mod leaks;
mod means;
mod namespaces;
mod ours;
mod peer;
mod places;
mod planted;
mod polled;
mod program;
mod replaced;
mod rooted;
mod several;
mod thieves;
mod torture;
mod unseen;
mod users;
mod waiting;
