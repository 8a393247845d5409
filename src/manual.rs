#![doc = include_str!("manual/contents.md")]

#[doc = include_str!("manual/keys.md")]
pub mod keys {}

#[doc = include_str!("manual/early_return.md")]
pub mod early_return {}

#[doc = include_str!("manual/async_code.md")]
pub mod async_code {}

#[doc = include_str!("manual/blocks.md")]
pub mod blocks {}

#[doc = include_str!("manual/choosing.md")]
pub mod choosing {}

#[doc = include_str!("manual/backends.md")]
pub mod backends {}

#[doc = include_str!("manual/moving.md")]
pub mod moving {}

#[cfg(feature = "file")]
#[doc = include_str!("manual/files.md")]
pub mod files {}

#[cfg(feature = "net")]
#[doc = include_str!("manual/server.md")]
pub mod server {}

#[cfg(feature = "net")]
#[doc = include_str!("manual/network.md")]
pub mod network {}

#[cfg(feature = "net")]
#[doc = include_str!("manual/messages.md")]
pub mod messages {}

#[cfg(feature = "net")]
#[doc = include_str!("manual/operating.md")]
pub mod operating {}

#[doc = include_str!("manual/limits.md")]
pub mod limits {}

#[cfg(feature = "redis")]
#[doc = include_str!("manual/redis.md")]
pub mod redis {}

#[cfg(feature = "postgres")]
#[doc = include_str!("manual/postgres.md")]
pub mod postgres {}

#[cfg(feature = "etcd")]
#[doc = include_str!("manual/etcd.md")]
pub mod etcd {}

#[doc = include_str!("manual/promises.md")]
pub mod promises {}

#[doc(inline)]
pub use locks_core::contract;

#[doc = include_str!("manual/deadlocks.md")]
pub mod deadlocks {}

#[doc = include_str!("manual/recipes.md")]
pub mod recipes {}

#[doc = include_str!("manual/observability.md")]
pub mod observability {}

#[doc = include_str!("manual/testing.md")]
pub mod testing {}

#[doc = include_str!("manual/surprises.md")]
pub mod surprises {}

#[expect(clippy::test_attr_in_doctest, reason = "it shows how tests are annotated")]
#[doc = include_str!("manual/coming_from.md")]
pub mod coming_from {}
