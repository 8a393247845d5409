//! What a process inherits (C4), and what the system may refuse it (C2): forks and limits for real.

#![cfg(all(unix, not(any(loom, shuttle))))]

#[path = "processes/forks.rs"]
mod forks;
#[path = "processes/starved.rs"]
mod starved;
#[path = "processes/support.rs"]
mod support;
