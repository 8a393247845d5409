//! Unix sockets as files: made, found, and taken away without touching what is somebody else's.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use locks_core::{ErrorKind, LockError};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::process;
use crate::pidfd::{self, Pidfd};
use crate::secret::random;

/// A socket that listens under a path, and takes it away again.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    is: (u64, u64),
}

/// What may be in the place of a new socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replace {
    /// A socket on which nobody listens.
    Stale,
    /// Any socket: that nobody but us may listen is known otherwise.
    Any,
}

/// Listens at `path`, for this user alone or for others too.
///
/// # Errors
/// If somebody listens there, if there is something that is no socket or not ours, and if others
/// could replace it.
pub(super) fn listen(
    path: &Path,
    replace: Replace,
    for_others: bool,
) -> Result<(UnixListener, SocketFile), LockError> {
    let failed = |error: io::Error| fault(path, ErrorKind::Io, &error.to_string());
    let path = &std::path::absolute(path).map_err(failed)?;
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(fault(path, ErrorKind::NotConfigured, "it is no name of a file"));
    };
    check_directory(path, directory)?;
    let found = look(path, replace)?;

    let random = u64::from_le_bytes(random().map_err(failed)?);
    let prefix = format!(".{}.", name.display());
    if replace == Replace::Any {
        remove_unfinished(directory, &prefix);
    }
    let new = directory.join(format!("{prefix}{random:016x}"));
    let listener = bind(&new, for_others).map_err(|error| match is_too_long(&error) {
        // What it is called by until it listens is longer still.
        true => failed(too_long(path)),
        false => failed(error),
    })?;
    // Whoever listens at the path from now on is us, or somebody who was as quick.
    let placed = place(&new, path, replace, found);
    if placed.is_err() {
        let _ = fs::remove_file(&new);
    }
    placed?;
    let is = identity(&fs::symlink_metadata(path).map_err(failed)?);
    Ok((listener, SocketFile { path: path.clone(), is }))
}

/// Connects to the socket at `path`, at once or not at all.
pub(crate) fn connect(path: &Path) -> io::Result<UnixStream> {
    let (address, _directory) = address(path).map_err(|error| match is_too_long(&error) {
        true => too_long(path),
        false => error,
    })?;
    let socket = socket()?;
    rustix::net::connect(&socket, &address)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Sees whether the process that made the other end's listener lives, as far as can be told. A
/// forked child of it may keep the listener open, and nobody accepts.
///
/// # Errors
/// It does not: its inode, or 0.
pub(crate) fn server_lives(stream: &UnixStream) -> Result<(), u64> {
    match Pidfd::of_peer(stream) {
        Ok(Some(server)) if server.has_ended() => Err(server.process(0).inode),
        Ok(None) if !server_pid(stream).is_none_or(process::is_alive) => Err(0),
        Err(Errno::SRCH) => Err(0),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The number of the process that made the other end's listener, if it has one here.
pub(crate) fn server_pid(stream: &UnixStream) -> Option<u32> {
    let (pid, _) = pidfd::peer_credentials(stream).ok()?;
    (pid != 0).then_some(pid)
}

impl SocketFile {
    /// Its path, from the root on.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is still this one, so that clients find it.
    pub(super) fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.is)
    }

    /// Takes the file away, if it is still this one.
    pub(super) fn remove(&self) {
        if self.is_there() {
            // Whoever comes in between finds a path where nobody listens.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Others must not be able to put their socket in the place of this one.
fn check_directory(path: &Path, directory: &Path) -> Result<(), LockError> {
    let metadata = fs::metadata(directory).map_err(|error| {
        let shown = directory.display();
        let advice = match error.kind() {
            io::ErrorKind::NotFound => format!(": make it with `mkdir -p {shown}`"),
            _ => String::new(),
        };
        let why = format!("its directory `{shown}` cannot be used: {error}{advice}");
        fault(path, ErrorKind::NotConfigured, &why)
    })?;
    let own = rustix::process::geteuid().as_raw();
    let why = if !metadata.is_dir() {
        format!("`{}` is no directory", directory.display())
    } else if metadata.uid() != own && metadata.uid() != 0 {
        let owner = metadata.uid();
        format!("its directory `{}` belongs to user {owner}", directory.display())
    } else if metadata.mode() & 0o022 != 0 && metadata.mode() & 0o1000 == 0 {
        let mode = metadata.mode() & 0o777;
        format!(
            "others may write to its directory `{}` (mode {mode:03o}): take that away with `chmod go-w`",
            directory.display()
        )
    } else {
        return Ok(());
    };
    Err(fault(path, ErrorKind::NotConfigured, &why))
}

/// What is at the path and may be replaced.
fn look(path: &Path, replace: Replace) -> Result<Option<(u64, u64)>, LockError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(path, ErrorKind::Io, &error.to_string())),
    };
    if !found.file_type().is_socket() {
        let why = "there is something that is no socket: it was left alone";
        return Err(fault(path, ErrorKind::NotConfigured, why));
    }
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != own {
        let why = format!("there is a socket of user {}: it was left alone", found.uid());
        return Err(fault(path, ErrorKind::NotConfigured, &why));
    }
    if replace == Replace::Stale {
        match connect(path) {
            Ok(stream) if server_lives(&stream).is_ok() => {
                let who =
                    server_pid(&stream).map_or_else(|| "somebody".to_owned(), process::describe);
                let why = format!("{who} listens there already");
                return Err(fault(path, ErrorKind::Contended, &why));
            }
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(Errno::CONNREFUSED.raw_os_error()) => {}
            // It is too busy to take another connection, or whatever else: not stale.
            Err(error) => {
                let why = format!("whether somebody listens there cannot be found out: {error}");
                return Err(fault(path, ErrorKind::Io, &why));
            }
        }
    }
    Ok(Some(identity(&found)))
}

/// Takes away what servers left that were killed before they had given their socket its name.
fn remove_unfinished(directory: &Path, prefix: &str) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let is_socket = entry.file_type().is_ok_and(|kind| kind.is_socket());
        if is_socket && entry.file_name().to_string_lossy().starts_with(prefix) {
            // It is in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Gives the new socket its name.
fn place(
    new: &Path,
    path: &Path,
    replace: Replace,
    found: Option<(u64, u64)>,
) -> Result<(), LockError> {
    let failed = |error: io::Error| fault(path, ErrorKind::Io, &error.to_string());
    let raced = || fault(path, ErrorKind::Contended, "somebody else began to listen there");
    if replace == Replace::Any {
        return fs::rename(new, path).map_err(failed);
    }
    let Some(found) = found else {
        // Unlike a rename this replaces nothing.
        return match fs::hard_link(new, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(raced()),
            outcome => outcome.and_then(|()| fs::remove_file(new)).map_err(failed),
        };
    };
    exchange(new, path).map_err(failed)?;
    if fs::symlink_metadata(new).is_ok_and(|was| identity(&was) == found) {
        // It is the stale one.
        return fs::remove_file(new).map_err(failed);
    }
    exchange(new, path).map_err(failed)?;
    Err(raced())
}

#[cfg(target_os = "linux")]
fn exchange(new: &Path, path: &Path) -> io::Result<()> {
    use rustix::fs::{RenameFlags, renameat_with};

    Ok(renameat_with(CWD, new, CWD, path, RenameFlags::EXCHANGE)?)
}

/// Without an exchange, two who replace the same stale socket at once are not told apart.
#[cfg(not(target_os = "linux"))]
fn exchange(new: &Path, path: &Path) -> io::Result<()> {
    fs::hard_link(path, new.with_extension("old"))?;
    fs::rename(new, path)?;
    fs::rename(new.with_extension("old"), new)
}

fn bind(path: &Path, for_others: bool) -> io::Result<UnixListener> {
    let (address, _directory) = address(path)?;
    let socket = socket()?;
    rustix::net::bind(&socket, &address)?;
    // Before it listens, so that there is no moment at which anybody else gets in.
    let mode = if for_others { 0o666 } else { 0o600 };
    rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty())?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// So many connections wait to be accepted, if the kernel's own limit allows.
const BACKLOG: i32 = 4096;

fn socket() -> io::Result<rustix::fd::OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// A path as an address. One that is too long for that is reached through its directory, which has
/// to stay open meanwhile.
fn address(path: &Path) -> io::Result<(SocketAddrUnix, Option<File>)> {
    match SocketAddrUnix::new(path) {
        Err(Errno::NAMETOOLONG) if cfg!(target_os = "linux") => {}
        outcome => return Ok((outcome?, None)),
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::NAMETOOLONG.into());
    };
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
    let directory = File::from(rustix::fs::open(directory, flags, Mode::empty())?);
    let fd = std::os::fd::AsRawFd::as_raw_fd(&directory);
    let address = SocketAddrUnix::new(Path::new(&format!("/proc/self/fd/{fd}")).join(name))?;
    Ok((address, Some(directory)))
}

/// So many bytes of a path are in the address of a socket, with a zero behind them.
const LONGEST: usize =
    if cfg!(any(target_os = "linux", target_os = "android")) { 107 } else { 103 };

fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NAMETOOLONG.raw_os_error())
}

fn too_long(path: &Path) -> io::Error {
    let name = path.file_name().map_or(0, |name| name.len());
    let length = path.as_os_str().len();
    io::Error::other(format!(
        "the path of a socket has about {LONGEST} bytes at most, and this one has {length}, of which \
         {name} are its name: take a shorter one"
    ))
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn fault(path: &Path, kind: ErrorKind, why: &str) -> LockError {
    let name = format!("unix://{}", path.display());
    let message = format!("cannot listen at `{}`: {why}", path.display());
    LockError::new(kind, "").with_backend(name).with_message(message)
}
