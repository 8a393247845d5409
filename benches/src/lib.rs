//! `locks` measured side by side with what one would pick instead.
//!
//! The rows are in `src/rows/`; this library is what they share: the peers, the interleaved
//! measurement and the tables.

pub mod measure;
pub mod peers;
pub mod report;
