//! The backend of [`locks`](https://docs.rs/locks) that excludes the processes of one machine, on
//! `flock`.
//!
//! Users depend on `locks` with its feature `file`, where this is `locks::file`. The
//! [contract](locks_core::contract) has the clauses that the docs cite.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "`locks-file` is for Linux so far: it needs inotify, `/proc/locks` and an atomic exchange of \
     files. Leave out the feature `file` on this system"
);

mod backend;
mod behind;
mod claim;
mod clean;
mod directory;
mod evict;
mod fault;
mod files;
mod held;
mod kernel;
mod list;
mod name;
mod path;
mod persist;
mod record;
mod restore;
mod room;
mod shared;
mod terms;
mod waiting;
mod watch;

pub use backend::{FileBackend, FileBackendBuilder};
pub use clean::Cleaned;
pub use path::{
    LockedFile, OwnedPathGuard, OwnedPathsGuard, OwnedReadPathGuard, PathGuard, PathLock,
    PathsGuard, PathsLock, ReadPathGuard, ReadPathLock, lock_path, lock_paths, read_path,
};
