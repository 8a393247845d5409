//! The facade: which backend serves, what a URL's options do, what a failed release does, and the
//! backend for tests.

#[path = "facade/choice.rs"]
mod choice;
#[path = "facade/defaults.rs"]
mod defaults;
#[path = "facade/fresh_process.rs"]
mod fresh_process;
#[path = "facade/testing.rs"]
mod testing;
#[path = "facade/unheard.rs"]
mod unheard;
#[cfg(feature = "tracing")]
#[path = "../locks-core/tests/checks/warnings.rs"]
mod warnings;
