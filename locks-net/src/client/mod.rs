//! The client: one connection for each process and server, shared by all threads and tasks (N7).

mod dial;
mod session;

pub(crate) use self::dial::{Dial, Line, Unreached, check_server, connect_unix};
#[cfg(test)]
pub(crate) use self::session::{Answer, Session, Setup as SessionSetup};
