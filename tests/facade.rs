//! The facade: which backend serves, and what a URL's options do.

#[path = "facade/choice.rs"]
mod choice;
#[path = "facade/defaults.rs"]
mod defaults;
#[path = "facade/fresh_process.rs"]
mod fresh_process;
