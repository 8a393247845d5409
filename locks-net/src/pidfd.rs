//! Processes by descriptor: each is told from all others that ever were since the machine was
//! started, from whatever namespace it is looked at (N1).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use self::system::{handle_of, inode_of, open_handle, open_pid, peer_of};
use crate::server::process;

/// A process that has been told from all others: its number may be another one's by now, or mean
/// another one where this is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its number, for who is in the namespace `seen_from`; 0: it has none there.
    pub(crate) pid: u32,
    /// When it was started, in the kernel's clock ticks since the machine was; 0: not looked up, or
    /// not to be seen.
    pub(crate) started: u64,
    /// The namespace of process numbers that it was seen from, by its inode; 0: not known.
    pub(crate) seen_from: u64,
    /// The inode of its descriptors, which no other process has; 0: this kernel has no such thing.
    pub(crate) inode: u64,
    /// By which it can be opened again.
    pub(crate) handle: Option<PidfdHandle>,
}

/// What the kernel gives for a process's descriptor, to open it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PidfdHandle {
    pub(crate) kind: i32,
    pub(crate) bytes: [u8; 8],
}

/// A process's descriptor: readable once it has ended.
#[derive(Debug)]
pub(crate) struct Pidfd(OwnedFd);

/// What has become of a process that was written down.
#[derive(Debug)]
pub(crate) enum ProcessLookup {
    There(Pidfd),
    Ended,
    /// It cannot be seen from here, or not now, which says nothing.
    Unseen,
}

impl Process {
    /// Whether they are one, as far as can be told: those of two namespaces can only be by their
    /// inodes.
    pub(crate) fn may_be(&self, other: &Self) -> bool {
        if self.inode != 0 && other.inode != 0 {
            return self.inode == other.inode;
        }
        let comparable = self.seen_from == other.seen_from && self.pid != 0 && other.pid != 0;
        !comparable || (self.pid, self.started) == (other.pid, other.started)
    }

    /// This one.
    pub(crate) fn own() -> Self {
        let pid = std::process::id();
        match Pidfd::open(pid) {
            Ok(own) => own.process(pid),
            Err(_) => Self {
                pid,
                seen_from: namespace(),
                started: process::started(pid).unwrap_or(0),
                ..Self::default()
            },
        }
    }

    /// Looks for it.
    pub(crate) fn find(&self) -> ProcessLookup {
        let here = namespace();
        let has_number_here = self.pid != 0 && here != 0 && self.seen_from == here;
        if let Some(handle) = self.handle {
            match open_handle(handle) {
                Ok(fd) if inode_of(fd.as_fd()) == Some(self.inode) => {
                    return ProcessLookup::There(Pidfd(fd));
                }
                // Either it is no more, or not in a namespace that can be seen from here.
                Err(Errno::STALE) if has_number_here || here == FIRST_NAMESPACE => {
                    return ProcessLookup::Ended;
                }
                Ok(_) | Err(_) => {}
            }
        }
        if !has_number_here {
            return ProcessLookup::Unseen;
        }
        match Pidfd::open(self.pid) {
            Err(Errno::SRCH) => ProcessLookup::Ended,
            Err(_) => ProcessLookup::Unseen,
            Ok(fd) => {
                let now = fd.process(self.pid);
                if now.inode == 0 && now.started == 0 {
                    // That may be for want of a descriptor.
                    ProcessLookup::Unseen
                } else if self.may_be(&now) {
                    ProcessLookup::There(fd)
                } else {
                    ProcessLookup::Ended
                }
            }
        }
    }
}

impl Pidfd {
    /// That of the process at the other end of a Unix socket: who connected, or listened. `None`:
    /// this kernel does not tell.
    ///
    /// # Errors
    /// `ESRCH` if it has ended and is gone; and for want of a descriptor.
    pub(crate) fn of_peer(socket: impl AsFd) -> Result<Option<Self>, Errno> {
        match peer_of(socket.as_fd()) {
            Ok(fd) => Ok(Some(Self(fd))),
            Err(Errno::NOPROTOOPT | Errno::OPNOTSUPP) => Ok(None),
            Err(error) if is_exhaustion(error) => Err(error),
            Err(_) => Err(Errno::SRCH),
        }
    }

    pub(crate) fn open(pid: u32) -> Result<Self, Errno> {
        open_pid(pid).map(Self)
    }

    /// Which process it is, whose number here is `pid`, or 0.
    pub(crate) fn process(&self, pid: u32) -> Process {
        let inode = inode_of(self.0.as_fd()).unwrap_or(0);
        let handle = if inode == 0 { None } else { handle_of(self.0.as_fd()) };
        let started = if inode == 0 && pid != 0 { process::started(pid) } else { None };
        Process { pid, started: started.unwrap_or(0), seen_from: namespace(), inode, handle }
    }

    pub(crate) fn has_ended(&self) -> bool {
        let mut ready = [PollFd::new(&self.0, PollFlags::IN)];
        let now = Duration::ZERO.try_into().ok();
        loop {
            match poll(&mut ready, now.as_ref()) {
                Err(Errno::INTR) => {}
                outcome => return outcome.is_ok_and(|count| count > 0),
            }
        }
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The number and user of the process at the other end of a Unix socket; the number is 0 if it has
/// none here.
pub(crate) fn peer_credentials(socket: impl AsFd) -> io::Result<(u32, u32)> {
    system::credentials_of(socket.as_fd())
}

pub(crate) fn is_exhaustion(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}

/// From which every process can be seen: its inode is a constant of the kernel's.
const FIRST_NAMESPACE: u64 = 0xEFFF_FFFC;

/// The namespace that this process's own number is of; 0: not known.
fn namespace() -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |found| found.ino())
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

    use nix::sys::socket::getsockopt;
    use nix::sys::socket::sockopt::{PeerCredentials, PeerPidfd};
    use rustix::io::Errno;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::PidfdHandle;

    /// What the file system of processes calls itself; before there was one, all descriptors had
    /// one inode.
    const PIDFS: u64 = 0x5049_4446;

    pub(super) fn credentials_of(socket: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
        let peer = getsockopt(&socket, PeerCredentials)?;
        Ok((u32::try_from(peer.pid()).unwrap_or(0), peer.uid()))
    }

    pub(super) fn peer_of(socket: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        getsockopt(&socket, PeerPidfd).map_err(|error| Errno::from_raw_os_error(error as i32))
    }

    pub(super) fn open_pid(pid: u32) -> Result<OwnedFd, Errno> {
        let pid = Pid::from_raw(pid.cast_signed()).ok_or(Errno::SRCH)?;
        pidfd_open(pid, PidfdFlags::NONBLOCK)
    }

    pub(super) fn inode_of(fd: BorrowedFd<'_>) -> Option<u64> {
        let system = rustix::fs::fstatfs(fd).ok()?;
        if system.f_type as u64 != PIDFS {
            return None;
        }
        Some(rustix::fs::fstat(fd).ok()?.st_ino)
    }

    /// As the kernel has it in memory: a header, and then the bytes, of which a process's has
    /// eight.
    #[repr(C)]
    struct Raw {
        length: u32,
        kind: i32,
        bytes: [u8; 8],
    }

    pub(super) fn handle_of(fd: BorrowedFd<'_>) -> Option<PidfdHandle> {
        let mut raw = Raw { length: 8, kind: 0, bytes: [0; 8] };
        let mut mount = 0_i32;
        // SAFETY: the name is empty and ends with a zero; `raw` has room for as many bytes as it
        // says, and the kernel writes no more than that; `mount` is an int to write to.
        let failed = unsafe {
            libc::syscall(
                libc::SYS_name_to_handle_at,
                fd.as_raw_fd(),
                c"".as_ptr(),
                &raw mut raw,
                &raw mut mount,
                libc::AT_EMPTY_PATH,
            )
        };
        (failed == 0 && raw.length == 8).then_some(PidfdHandle { kind: raw.kind, bytes: raw.bytes })
    }

    pub(super) fn open_handle(handle: PidfdHandle) -> Result<OwnedFd, Errno> {
        // Any descriptor there says which file system is meant.
        let there = open_pid(std::process::id())?;
        let raw = Raw { length: 8, kind: handle.kind, bytes: handle.bytes };
        // SAFETY: `raw` has as many bytes as it says, and is only read.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_open_by_handle_at,
                there.as_raw_fd(),
                &raw const raw,
                libc::O_CLOEXEC,
            )
        };
        let error = || io::Error::last_os_error().raw_os_error().map(Errno::from_raw_os_error);
        match i32::try_from(fd) {
            // SAFETY: the kernel has just made it, for nobody else.
            Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            _ => Err(error().unwrap_or(Errno::INVAL)),
        }
    }
}

/// Elsewhere nothing tells one process from all others.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::os::fd::{BorrowedFd, OwnedFd};

    use rustix::io::Errno;

    use super::PidfdHandle;

    pub(super) fn credentials_of(_: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn peer_of(_: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        Err(Errno::NOPROTOOPT)
    }

    pub(super) fn open_pid(_: u32) -> Result<OwnedFd, Errno> {
        Err(Errno::NOSYS)
    }

    pub(super) fn inode_of(_: BorrowedFd<'_>) -> Option<u64> {
        None
    }

    pub(super) fn handle_of(_: BorrowedFd<'_>) -> Option<PidfdHandle> {
        None
    }

    pub(super) fn open_handle(_: PidfdHandle) -> Result<OwnedFd, Errno> {
        Err(Errno::NOSYS)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use super::*;

    #[test]
    fn n1_a_process_is_found_again_while_it_lives_and_not_afterwards() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let written = Pidfd::open(child.id()).unwrap().process(child.id());
        let ProcessLookup::There(found) = written.find() else {
            panic!("{written:?}: {:?}", written.find())
        };
        assert!(!found.has_ended());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.has_ended());
        assert!(matches!(written.find(), ProcessLookup::Ended), "{:?}", written.find());
    }

    #[test]
    fn n1_one_that_had_the_same_number_is_another_one() {
        let own = Process::own();
        assert!(matches!(own.find(), ProcessLookup::There(_)));
        let before = Process { inode: own.inode.wrapping_sub(1), started: 1, handle: None, ..own };
        assert!(!before.may_be(&own));
        assert!(matches!(before.find(), ProcessLookup::Ended));
    }

    #[test]
    fn n1_what_cannot_be_seen_from_here_is_not_dead() {
        let elsewhere = Process { pid: 4_000_000, seen_from: 7, ..Process::default() };
        assert!(matches!(elsewhere.find(), ProcessLookup::Unseen));
        assert!(elsewhere.may_be(&Process::own()));
    }

    #[test]
    fn n1_both_ends_of_a_socket_know_each_other() {
        let (one, _other) = UnixStream::pair().unwrap();
        let Some(peer) = Pidfd::of_peer(&one).unwrap() else { return };
        assert_eq!(peer.process(std::process::id()), Process::own());
        assert_eq!(peer_credentials(&one).unwrap().0, std::process::id());
    }
}
