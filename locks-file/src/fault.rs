//! Errors about directories and files: what is wrong with which, and what mends it.

use std::io;
use std::path::{Path, PathBuf};

use locks_core::{ErrorKind, LockError};
use rustix::fs::FileType;
use rustix::io::Errno;

const ANOTHER: &str = "name another directory by `file:///dir`";

fn refused(path: &Path, why: String) -> LockError {
    let backend = format!("file://{}", path.display());
    LockError::new(ErrorKind::NotConfigured, "").with_backend(backend).with_message(why)
}

fn unavailable(backend: &str, why: String, error: io::Error) -> LockError {
    LockError::unavailable(backend, error).with_message(why)
}

/// The directory cannot be made, looked at or used.
#[cold]
pub(crate) fn directory(path: &Path, error: io::Error) -> LockError {
    let shown = path.display();
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => "give this user the right to it, or ",
        io::ErrorKind::ReadOnlyFilesystem => "it is on a file system that is mounted read-only: ",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room, or ",
        io::ErrorKind::NotADirectory => "something above it is not a directory: ",
        // It says itself what mends it.
        io::ErrorKind::Other => "or ",
        _ if is_out_of_files(&error) => "raise the limit (`ulimit -n`), or ",
        _ => "",
    };
    let why = format!("lock directory `{shown}` cannot be used: {error}; {advice}{ANOTHER}");
    unavailable(&format!("file://{shown}"), why, error)
}

#[cold]
pub(crate) fn linked_directory(path: &Path) -> LockError {
    let shown = path.display();
    let target = std::fs::read_link(path).unwrap_or_default();
    let target = target.display();
    refused(
        path,
        format!(
            "lock directory `{shown}` is a symbolic link, to `{target}`, which could be turned \
             elsewhere under the holders of locks: name the directory itself"
        ),
    )
}

#[cold]
pub(crate) fn no_directory(path: &Path) -> LockError {
    let shown = path.display();
    refused(path, format!("`{shown}` is not a directory: {ANOTHER}"))
}

#[cold]
pub(crate) fn foreign_directory(path: &Path, owner: u32) -> LockError {
    let (shown, me) = (path.display(), rustix::process::geteuid().as_raw());
    refused(
        path,
        format!(
            "lock directory `{shown}` belongs to user {owner}, and this is user {me}: {ANOTHER}, or, \
             if several users share it, say `?users=several`"
        ),
    )
}

#[cold]
pub(crate) fn open_directory(path: &Path, mode: u32) -> LockError {
    let shown = path.display();
    refused(
        path,
        format!(
            "lock directory `{shown}` can be written to by others (mode {mode:03o}): `chmod 700` it, \
             or, if several users share it, say `?users=several`"
        ),
    )
}

#[cold]
pub(crate) fn network(path: &Path) -> LockError {
    let shown = path.display();
    refused(
        path,
        format!(
            "`{shown}` is on a network file system, where locks depend on its server and its options: \
             name a local directory, or say `?network_fs=allow`"
        ),
    )
}

/// The file system says yes to everybody.
#[cold]
pub(crate) fn no_exclusion(path: &Path) -> LockError {
    let shown = path.display();
    refused(
        path,
        format!(
            "the file system of `{shown}` does not keep locks: a file that was locked could be locked \
             again; {ANOTHER}"
        ),
    )
}

/// The file system knows no locks.
#[cold]
pub(crate) fn no_locks(path: &Path, error: io::Error) -> LockError {
    let shown = path.display();
    let why = format!("no file can be locked in `{shown}`: {error}; {ANOTHER}");
    unavailable(&format!("file://{shown}"), why, error)
}

/// A file of a lock directory, of which there is something to tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LockFile<'a> {
    pub(crate) backend: &'a str,
    pub(crate) directory: &'a Path,
    pub(crate) name: &'a str,
}

impl LockFile<'_> {
    fn path(self) -> PathBuf {
        self.directory.join(self.name)
    }

    /// A lock file cannot be opened or made.
    #[cold]
    pub(crate) fn opening(self, error: io::Error) -> LockError {
        let shown = self.path();
        let shown = shown.display();
        let why = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::LOOP) => {
                format!("lock file `{shown}` is a symbolic link, and is left alone: remove it")
            }
            Some(Errno::ISDIR) => {
                format!("lock file `{shown}` is a directory, and is left alone: remove it")
            }
            Some(Errno::NXIO) => {
                format!("lock file `{shown}` is no regular file, and is left alone: remove it")
            }
            Some(Errno::MFILE | Errno::NFILE) => format!(
                "lock file `{shown}` cannot be opened: {error}; every lock that is held takes one: raise \
                 the limit (`ulimit -n`)"
            ),
            Some(Errno::NOENT) => format!(
                "lock directory `{}` is gone: make it again, or {ANOTHER}",
                self.directory.display()
            ),
            _ => return self.failed("opened", error),
        };
        LockError::new(ErrorKind::Io, "")
            .with_backend(self.backend)
            .with_message(why)
            .with_source(error)
    }

    #[cold]
    pub(crate) fn no_lock_file(self, kind: FileType) -> LockError {
        let shown = self.path();
        let shown = shown.display();
        let what = match kind {
            FileType::Fifo => "a named pipe",
            FileType::Directory => "a directory",
            FileType::Socket => "a socket",
            FileType::CharacterDevice | FileType::BlockDevice => "a device",
            _ => "no regular file",
        };
        LockError::new(ErrorKind::Io, "")
            .with_backend(self.backend)
            .with_message(format!("lock file `{shown}` is {what}, and is left alone: remove it"))
    }

    #[cold]
    pub(crate) fn foreign_file(self, owner: u32) -> LockError {
        let (shown, me) = (self.path(), rustix::process::geteuid().as_raw());
        let shown = shown.display();
        LockError::new(ErrorKind::Io, "").with_backend(self.backend).with_message(format!(
            "lock file `{shown}` belongs to user {owner}, and this is user {me}: remove it, or, if several \
             users share the directory, say `?users=several`"
        ))
    }

    /// A file of somebody else's has the name of a lock file, in a directory that is not for lock
    /// files alone (F9).
    #[cold]
    pub(crate) fn not_ours(self) -> LockError {
        let shown = self.path();
        let shown = shown.display();
        LockError::new(ErrorKind::Io, "").with_backend(self.backend).with_message(format!(
            "`{shown}` is no lock file, and is left alone: name a directory of its own for locks by \
             `file:///dir`, or, if nobody needs the file, remove it"
        ))
    }

    /// Whoever owns neither a file nor its directory cannot put another in its place.
    #[cold]
    pub(crate) fn sticky(self, error: io::Error) -> LockError {
        let shown = self.path();
        let (shown, place) = (shown.display(), self.directory.display());
        let why = format!(
            "lock file `{shown}` cannot be taken over: {error}; it belongs to another user, and `{place}` is \
             sticky: `chmod -t` it, or have the user of either take the lock over"
        );
        unavailable(self.backend, why, error)
    }

    /// Something else went wrong with a lock file.
    #[cold]
    pub(crate) fn failed(self, verb: &str, error: io::Error) -> LockError {
        let shown = self.path();
        let shown = shown.display();
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => "; give this user the right to it",
            io::ErrorKind::StorageFull => {
                "; make room: a lock is not granted before it is written down"
            }
            io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                "; raise the limit: a lock is not granted before it is written down"
            }
            io::ErrorKind::ReadOnlyFilesystem => "; name a directory that can be written to",
            _ => "",
        };
        let why = format!("lock file `{shown}` cannot be {verb}: {error}{advice}");
        unavailable(self.backend, why, error)
    }
}

/// The directory's own bookkeeping is held up.
#[cold]
pub(crate) fn held_up(backend: &str, by: Option<u32>) -> LockError {
    let who = match by {
        Some(pid) => format!("process {pid}, which may have been stopped"),
        None => "another process, which may have been stopped".to_owned(),
    };
    let why = format!("the books of `{backend}` are held up by {who}: let it go on, or end it");
    LockError::new(ErrorKind::Unavailable, "").with_backend(backend).with_message(why)
}

/// The books of the directory cannot be kept.
#[cold]
pub(crate) fn books(backend: &str, path: &Path, error: io::Error) -> LockError {
    let shown = path.display();
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => "; give this user the right to it",
        io::ErrorKind::StorageFull => "; make room",
        io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => "; raise the limit",
        io::ErrorKind::ReadOnlyFilesystem => "; name a directory that can be written to",
        _ if is_out_of_files(&error) => "; raise the limit (`ulimit -n`)",
        _ => "",
    };
    let why = format!("`{shown}`, which keeps the tokens growing, cannot be used: {error}{advice}");
    unavailable(backend, why, error)
}

/// There are fewer descriptors than keys in one request.
#[cold]
pub(crate) fn too_many_keys(backend: &str, wanted: usize, left: usize, limit: usize) -> LockError {
    LockError::new(ErrorKind::LimitExceeded, "").with_backend(backend).with_message(format!(
        "`{backend}`: a request for {wanted} keys takes as many open files, and of {limit} there are {left} \
         left: raise the limit (`ulimit -n`), or take fewer keys at a time"
    ))
}

fn is_out_of_files(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}

#[cold]
pub(crate) fn forked(backend: &str) -> LockError {
    let why = "this process was forked from the one that opened it: open it again";
    LockError::unavailable(backend, why).with_message(format!("`{backend}`: {why}"))
}
