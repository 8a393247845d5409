//! The facade: which backend serves, what a URL's options do, what a failed release does, and the
//! backend for tests.

#[cfg(any(feature = "file", feature = "net"))]
#[path = "facade/by_default.rs"]
mod by_default;
#[path = "facade/choice.rs"]
mod choice;
#[path = "facade/defaults.rs"]
mod defaults;
#[path = "facade/elect.rs"]
mod elect;
#[path = "../locks-core/tests/checks/fails.rs"]
mod fails;
#[cfg(feature = "file")]
#[path = "facade/forked.rs"]
mod forked;
#[path = "facade/fresh_process.rs"]
mod fresh_process;
#[path = "facade/limits.rs"]
mod limits;
#[cfg(feature = "tracing")]
#[path = "../locks-core/tests/checks/listens.rs"]
mod listens;
#[cfg(any(feature = "metrics", feature = "tracing"))]
#[path = "facade/observability.rs"]
mod observability;
#[path = "facade/pages.rs"]
mod pages;
#[path = "facade/testing.rs"]
mod testing;
#[cfg(all(feature = "tracing", feature = "file"))]
#[path = "facade/theft.rs"]
mod theft;
#[path = "facade/unheard.rs"]
mod unheard;
