//! Locks among the processes that reach a server.
//!
//! One engine, that of `locks-core`, holds the locks, and its owners are the sessions of clients. Three
//! layers, of which only the last does I/O:
//!
//! * [`wire`]: frames and messages as bytes; `PROTOCOL.md` describes them.
//! * [`arbiter`] and [`client::Session`](client): the two ends as state machines. They are given frames and
//!   the time, and leave frames to be sent.
//! * [`server`] and [`client`]: sockets, threads, timers; [`serving`] finds or starts a server for the
//!   processes of one machine.

mod arbiter;
mod channel;
mod client;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod history;
mod journal;
mod patience;
mod secret;
mod server;
mod serving;
#[cfg(test)]
mod simulation;
mod wire;

pub use self::arbiter::Limits;
pub use self::client::{NetBackend, NetBuilder};
pub use self::secret::Secret;
pub use self::server::{Server, ServerBuilder};
pub use self::wire::Status;
