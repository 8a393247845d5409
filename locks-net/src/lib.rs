//! Locks among the processes that reach a server; part of [`locks`](https://docs.rs/locks), feature
//! `net`.
//!
//! [`NetBackend`] asks a server: one at a [Unix socket](NetBackend::unix), one at a TCP port of any
//! machine (`NetBackend::tcp`, feature `tcp`) with a [`Secret`], or the one that the processes of
//! this machine [run for each other](NetBackend::machine) without anybody having to start it.
//! [`Server`] is one of your own; the command `locks serve` runs it.
//!
//! | | a holder that is killed | that is stopped, or suspended |
//! |---|---|---|
//! | Unix socket, self-serving | its locks are free at once | keeps them |
//! | TCP | its locks are free after its lease | loses them after its lease, and hears of it before its next call returns |
//!
//! A server that is killed and started again on its directory loses no lock: its journal has them.
//! Tokens grow as long as that directory is kept.
//!
//! ```
//! use locks::net::NetBackend;
//!
//! # let directory = std::env::temp_dir().join(format!("locks-net-doc-{}", std::process::id()));
//! let backend = NetBackend::machine(&directory).build()?.into_backend();
//! let guard = backend.named("invoice:42").acquire()?;
//! assert!(backend.named("invoice:42").wait(false).acquire().unwrap_err().is_contended());
//! # drop(guard);
//! # std::fs::remove_dir_all(&directory).unwrap();
//! # Ok::<(), locks::LockError>(())
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(feature = "tcp"),
    allow(
        dead_code,
        unreachable_code,
        reason = "sessions over TCP are in the state machines, whether or not there are sockets for them"
    )
)]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "`locks-net` is for Linux so far: it watches processes by pidfd and sockets by epoll. Leave out \
     the feature `net` on this system"
);

// Three layers, of which only the last does I/O: `wire`, `secret` and `channel` are bytes and
// values; `arbiter` and `client::session` are the two ends as state machines; `server`,
// `client::link`, `serving` and `journal` are sockets, threads and files.

mod access;
mod adaptive_spin;
mod arbiter;
mod channel;
mod client;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod history;
mod journal;
mod pidfd;
mod secret;
mod server;
mod serving;
#[cfg(test)]
mod simulation;
#[cfg_attr(not(feature = "tcp"), path = "tls/absent.rs")]
mod tls;
mod wire;

pub use self::access::{Client, Clients, Fingerprint};
pub use self::arbiter::{ClientInfo, Figures, Histogram, Limits, Losses, Observation, Refusals};
pub use self::client::{Mailbox, Message, NetBackend, NetBuilder, Received};
pub use self::secret::Secret;
pub use self::server::{LogLevel, LogLine, Server, ServerBuilder, ServerObserver};
#[cfg(feature = "tcp")]
pub use self::tls::{Authority, Certificate};
pub use self::wire::{Published, Status};
