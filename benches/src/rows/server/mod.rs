//! Locks at a server: what excludes those who can only talk to each other.

mod address;
pub(crate) mod alone;
/// It reads what only Linux tells.
#[cfg(target_os = "linux")]
pub(crate) mod capacity;
pub(crate) mod child;
mod client;
pub(crate) mod clients;
mod crowd;
mod echo;
mod engine;
pub(crate) mod etcd_engine;
pub(crate) mod handover;
/// It reads what only Linux tells.
#[cfg(target_os = "linux")]
pub(crate) mod memory;
mod ours;
mod pipelined;
mod postgres;
pub(crate) mod postgres_engine;
mod redis;
pub(crate) mod redis_engine;
mod resp;
mod servers;
pub(crate) mod takeover;
pub(crate) mod tasks;
mod tls;
mod turns;

use std::time::Duration;

/// How long everybody is ready to wait who can say so: longer than anybody has to.
const TIMEOUT: Duration = Duration::from_secs(60);
