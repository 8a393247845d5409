//! What the operating system knows: which process holds which file, who is who, what time it is.

mod opened;
mod places;
mod process;
mod table;
mod time;

pub(crate) use locks_core::fork::generation;
pub(crate) use opened::Opened;
pub(crate) use places::Places;
pub(crate) use process::{Process, Seen, boot, is_of_this_boot, lives};
pub(crate) use table::LockTable;
pub(crate) use time::{Nanos, duration_until, look_at_namespace, now};
