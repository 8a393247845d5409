//! What happened in one run of clients and servers, in real time, and whether that may be.
//!
//! Pure: whoever makes a history tells of everything in the order in which it happened, by a clock
//! that none of those concerned has. [`check`] reads it from its beginning and stops at the first
//! entry that breaks a promise.

mod beliefs;
mod books;
mod check;
mod entry;
mod tests;

pub(crate) use self::check::check;
pub(crate) use self::entry::{Ask, Entry, Id, KeptBy, What};
