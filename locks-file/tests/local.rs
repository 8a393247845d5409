//! The file backend within one process: what needs no other is here, the rest in `processes.rs`.

#[path = "local/directory.rs"]
mod directory;
#[path = "local/paths.rs"]
mod paths;
#[path = "local/places.rs"]
mod places;
