//! The client: one connection for each process and server, shared by all threads and tasks (N7).

mod session;

#[cfg(test)]
pub(crate) use self::session::{Answer, Session, Setup as SessionSetup};
