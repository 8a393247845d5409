//! What other attributes stumbled over, as their bug trackers tell it. Each case names its source;
//! `tests/README.md` lists them.

mod async_trait;
mod cached;
mod entry_points;
mod messages;
mod scheduled;
mod tracing;
