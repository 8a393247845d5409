//! The backends of [`locks`](https://docs.rs/locks) on servers that teams already run.
//!
//! Programs depend on `locks`, where this is `locks::engines`, and enable a feature for each
//! engine: `redis`, `postgres`, `etcd`. Each engine is a store with leases
//! ([`LeaseStore`](locks_core::LeaseStore)); the clients of their servers run on one thread,
//! `locks-engine`, which every process that uses one has.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
mod driver;
#[cfg(feature = "etcd")]
pub mod etcd;
#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
mod link;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod tls;

#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
pub use self::link::LinkState;
