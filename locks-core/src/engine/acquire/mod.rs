//! The ways to a hold, at once, in a queue, by way of an upstream, and what becomes of it.

mod begin;
mod completion;
mod fast_path;
mod hold;
mod queued;
mod several;
mod upstream_acquire;

pub(crate) use self::begin::{Attempt, PendingHold};
