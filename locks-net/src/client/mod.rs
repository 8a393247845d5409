//! The client: one connection for each process and server, shared by all threads and tasks (N7).

mod backend;
mod builder;
mod dial;
mod generation;
mod handle;
mod link;
mod mailbox;
mod op;
#[cfg(feature = "tcp")]
mod port;
mod session;

pub use self::backend::NetBackend;
pub use self::builder::NetBuilder;
pub(crate) use self::dial::{Dial, Stream, Unreached, check_server};
pub use self::mailbox::{Mailbox, Message};
pub use self::session::Received;
#[cfg(test)]
pub(crate) use self::session::{Answer, ClientSession, Hello, Reach, SessionSetup};
