//! What can be seen of an engine: holders and waiters, deadlocks, and grants as records.

pub(super) mod describe;
mod graph;
mod records;

pub(super) use self::graph::{Edge, Owners};
