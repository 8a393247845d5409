//! Errors about a server's directory: what is wrong with which file, and what mends it.

use std::fmt::Display;
use std::io;
use std::path::Path;

use locks_core::{ErrorKind, LockError};
use rustix::fs::RawMode;
use rustix::io::Errno;

const BACKEND: &str = "net";
const ANOTHER: &str = "name another directory";

fn refused(why: String) -> LockError {
    LockError::new(ErrorKind::NotConfigured, "").with_backend(BACKEND).with_message(why)
}

fn unavailable(
    why: String,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> LockError {
    LockError::unavailable(BACKEND, error).with_message(why)
}

/// The directory cannot be made, looked at or used.
#[cold]
pub(super) fn directory(path: &Path, error: io::Error) -> LockError {
    let shown = path.display();
    let why = format!("server directory `{shown}` cannot be used: {error}; {}", advice(&error));
    unavailable(why, error)
}

#[cold]
pub(super) fn linked_directory(path: &Path) -> LockError {
    refused(format!(
        "server directory `{}` is a symbolic link, which could be turned elsewhere: name the directory \
         itself",
        path.display()
    ))
}

#[cold]
pub(super) fn no_directory(path: &Path) -> LockError {
    refused(format!("`{}` is not a directory: {ANOTHER}", path.display()))
}

#[cold]
pub(super) fn foreign_directory(path: &Path, owner: u32) -> LockError {
    let (shown, me) = (path.display(), rustix::process::geteuid().as_raw());
    refused(format!(
        "server directory `{shown}` belongs to user {owner}, and this is user {me}: {ANOTHER}"
    ))
}

#[cold]
pub(super) fn open_directory(path: &Path, mode: RawMode) -> LockError {
    let shown = path.display();
    refused(format!(
        "server directory `{shown}` can be written to by others (mode {mode:03o}): `chmod 700` it, or \
         {ANOTHER}"
    ))
}

/// A file of the directory cannot be used.
#[cold]
pub(super) fn file(path: &Path, error: io::Error) -> LockError {
    let shown = path.display();
    let what = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::LOOP) => "is a symbolic link, and is left alone: remove it".to_owned(),
        Some(Errno::ISDIR) => "is a directory, and is left alone: remove it".to_owned(),
        Some(Errno::NXIO) => "is no regular file, and is left alone: remove it".to_owned(),
        _ if error.kind() == io::ErrorKind::Other => format!("cannot be used: {error}"),
        _ => format!("cannot be used: {error}; {}", advice(&error)),
    };
    unavailable(format!("`{shown}` {what}"), error)
}

/// The same for who goes on without it.
#[cold]
pub(super) fn writing(path: &Path, error: &io::Error) -> io::Error {
    let why = format!("`{}` cannot be written: {error}; {}", path.display(), advice(error));
    io::Error::new(error.kind(), why)
}

/// Somebody has removed the lock that this server goes by.
#[cold]
pub(super) fn discharged(path: &Path) -> io::Error {
    io::Error::other(format!("`{}` was removed under its server", path.display()))
}

/// Another server has the directory: contended, so that who only wanted somebody to serve knows.
#[cold]
pub(super) fn served(path: &Path, by: Option<u32>) -> LockError {
    let who = match by {
        Some(pid) if pid == std::process::id() => format!("this process ({pid}) already"),
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    };
    let why = format!(
        "server directory `{}` is served by {who}: let its clients use that server, end it, or {ANOTHER}",
        path.display()
    );
    LockError::new(ErrorKind::Contended, "").with_backend(BACKEND).with_message(why)
}

#[cold]
pub(super) fn corrupt_journal(path: &Path, why: impl Display) -> LockError {
    let shown = path.display();
    let text = format!(
        "journal `{shown}` is {why}: who holds what is not known; end all clients of this server, then \
         remove the file"
    );
    unavailable(text, format!("{why}"))
}

/// What is held was written down by another build (N11).
#[cold]
pub(super) fn another_version(path: &Path) -> LockError {
    let why = format!(
        "journal `{}` tells of locks that are held, and is of another version of `locks` than this one ({}): serve \
         with that version until nothing is held, or upgrade all programs that use the directory",
        path.display(),
        env!("CARGO_PKG_VERSION")
    );
    unavailable(why, "it is of another version")
}

#[cold]
pub(super) fn corrupt_tokens(path: &Path, why: impl Display) -> LockError {
    let shown = path.display();
    let text = format!(
        "token file `{shown}` is {why}: put it back from a copy; or, where no store relies on tokens that \
         only grow, end all clients of this server, then remove all files of its directory"
    );
    unavailable(text, format!("{why}"))
}

#[cold]
pub(super) fn no_boot_id(error: io::Error) -> LockError {
    let why = format!(
        "whether the machine was started anew cannot be told, for want of \
         `/proc/sys/kernel/random/boot_id`: {error}"
    );
    unavailable(why, error)
}

fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE) => return "raise the limit (`ulimit -n`)",
        Some(Errno::FBIG) => return "raise the limit (`ulimit -f`)",
        _ => {}
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "give this user the right to it, or name another directory"
        }
        io::ErrorKind::ReadOnlyFilesystem => "name a directory that can be written to",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room: nothing is granted before it is written down"
        }
        _ => ANOTHER,
    }
}
