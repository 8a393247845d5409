//! Locking *a* file, rather than a name (F1).

mod builder;
mod guard;
mod place;
mod seize;
mod wanted;

pub use self::builder::{PathLock, PathsLock, ReadPathLock, lock_path, lock_paths, read_path};
pub use self::guard::{
    LockedFile, OwnedPathGuard, OwnedPathsGuard, OwnedReadPathGuard, PathGuard, PathsGuard,
    ReadPathGuard,
};
