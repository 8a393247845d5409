use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use locks_core::descriptors::{InChild, list, unlist};
use locks_core::fork::generation;
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType};

use crate::pidfd::{self, Pidfd};

/// The path of a directory, as one process has it that serves there, whatever becomes of the
/// directory.
///
/// Where a directory is removed under its server (`rm -rf`) and made anew, its lock is another one,
/// and says nothing of that server, which grants until it notices. It notices within a second,
/// takes back what it has granted, and only then lets go of this. It is a socket that listens at a
/// name beside the file system; others can take such a name too, so those of other users count for
/// nothing. What is in another network namespace is not seen.
#[derive(Debug)]
pub(super) struct Claim {
    /// `None` where there is no claim to be had: the lock of the directory alone decides, then. It
    /// is closed in a forked child, which would keep the name: there, all who come fill the queue
    /// of a socket that nobody serves.
    socket: Option<OwnedFd>,
    generation: u64,
}

impl Claim {
    /// # Errors
    /// The number of the process that has it, if it has one here.
    pub(super) fn take(path: &Path) -> Result<Self, Option<u32>> {
        let Some(address) = address(path) else { return Ok(Self::new(None)) };
        match listen(&address) {
            Ok(socket) => Ok(Self::new(Some(socket))),
            Err(Errno::ADDRINUSE) => match holder(&address) {
                Some(pid) => Err(pid),
                None => Ok(Self::new(None)),
            },
            Err(_) => Ok(Self::new(None)),
        }
    }

    fn new(socket: Option<OwnedFd>) -> Self {
        if let Some(socket) = &socket {
            list(socket.as_raw_fd(), InChild::Closed);
        }
        Self { socket, generation: generation() }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(socket) = self.socket.take() else { return };
        if self.generation == generation() {
            // A child that was started meanwhile, and does not run its program yet, has it open,
            // too: whoever connects is to find that nobody serves.
            let _ = rustix::net::shutdown(&socket, Shutdown::Both);
            unlist(socket.as_raw_fd(), InChild::Closed);
        } else {
            // By its number the child may have something else open.
            mem::forget(socket);
        }
    }
}

fn listen(address: &SocketAddrUnix) -> Result<OwnedFd, Errno> {
    let socket = socket()?;
    rustix::net::bind(&socket, address)?;
    // So that others hear from the kernel who it is. Nobody is ever accepted.
    rustix::net::listen(&socket, 4)?;
    Ok(socket)
}

/// The process that has it, if it lives and is of this user.
fn holder(address: &SocketAddrUnix) -> Option<Option<u32>> {
    let socket = socket().ok()?;
    match rustix::net::connect(&socket, address) {
        Ok(()) => {}
        // It has so many who want to know that it has to be there.
        Err(Errno::AGAIN) => return Some(None),
        Err(_) => return None,
    }
    let (pid, uid) = pidfd::peer_credentials(&socket).ok()?;
    let is_own = uid == rustix::process::geteuid().as_raw();
    // A child keeps the name that it has forked by other means than the system's library.
    let lives = match Pidfd::of_peer(&socket) {
        Ok(Some(process)) => !process.has_ended(),
        Ok(None) => true,
        Err(error) => error != Errno::SRCH,
    };
    (is_own && lives).then_some((pid != 0).then_some(pid))
}

fn socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

#[cfg(target_os = "linux")]
fn address(path: &Path) -> Option<SocketAddrUnix> {
    use std::os::unix::ffi::OsStrExt;

    let path = std::fs::canonicalize(path).ok()?;
    let hash = hmac_sha256::Hash::hash(path.as_os_str().as_bytes());
    let (number, uid) = (u128::from_be_bytes(*hash.first_chunk()?), rustix::process::geteuid());
    SocketAddrUnix::new_abstract_name(
        format!("locks-net/{}/{number:032x}", uid.as_raw()).as_bytes(),
    )
    .ok()
}

#[cfg(not(target_os = "linux"))]
fn address(_: &Path) -> Option<SocketAddrUnix> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n3_a_claim_that_a_started_child_still_has_open_is_nobodys() {
        let directory = std::env::temp_dir().join(format!("locks-claim-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let claim = Claim::take(&directory).unwrap();
        assert_eq!(Claim::take(&directory).unwrap_err(), Some(std::process::id()));
        // As the child has it, from the fork until it runs its program.
        let of_child = claim.socket.as_ref().unwrap().try_clone().unwrap();
        drop(claim);
        let outcome = Claim::take(&directory);
        drop(of_child);
        std::fs::remove_dir(&directory).unwrap();
        outcome.unwrap();
    }
}
