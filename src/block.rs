//! The block macro.

#[doc = include_str!("lock_block.md")]
pub use locks_macros::lock_block as lock;
