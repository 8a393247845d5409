//! What the operating system knows: which process holds which file, who is who, what time it is.

mod process;
mod table;
mod time;

pub(crate) use process::{Process, Seen, boot, started};
pub(crate) use table::LockTable;
pub(crate) use time::{Nanos, duration_until, now};
