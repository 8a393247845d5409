//! Holding a lock while something else goes on: the wait for it, what happens meanwhile, its end.

mod caller;
mod events;
mod family;
mod handed;
mod held;
mod lease;
mod schedule;
mod signals;
mod waiting;

pub(crate) use self::caller::{WITHIN, within};
pub(crate) use self::events::{Event, Events};
pub(crate) use self::family::is_orphaned;
pub(crate) use self::held::CommandHold;
pub(crate) use self::lease::{LeaseEnd, look as look_at_lease};
pub(crate) use self::schedule::{Due, Schedule};
pub(crate) use self::signals::{
    ends_waiting, has_group_stopped, keep_children, listen, stop_group, stop_myself,
};
pub(crate) use self::waiting::{Outcome, acquire, acquire_at};
