use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::client::dial::Line;
use crate::patience::{Patience, SPELL};
use crate::server::process;

/// How long a blocked thread reads before it gets ready for being called away.
pub(super) const BRIEFLY: Duration = Duration::from_millis(5);

/// A connection's socket, and the process at its other end, if that is of this machine.
#[derive(Debug)]
pub(super) struct Wire {
    socket: OwnedFd,
    server: Option<ServerProcess>,
}

/// The process at the other end.
#[derive(Debug)]
struct ServerProcess {
    pid: u32,
    /// Readable once it has ended.
    ended: OwnedFd,
}

/// What reading comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    Bytes(usize),
    /// It is open, and there is nothing.
    Nothing,
    Over,
}

impl Wire {
    pub(super) fn new(line: Line) -> io::Result<Self> {
        let (socket, server): (OwnedFd, _) = match line {
            Line::Unix(stream) => {
                let server = watch_server(&stream);
                (stream.into(), server)
            }
            Line::Tcp(stream) => {
                stream.set_nodelay(true)?;
                (stream.into(), None)
            }
        };
        set_socket_timeout(&socket, Timeout::Recv, Some(BRIEFLY))?;
        Ok(Self { socket, server })
    }

    /// Sends as much as the socket takes now.
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match send(&self.socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => return Ok(sent),
                Err(Errno::AGAIN) => return Ok(0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads what is there.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Received {
        self.receive_with(buffer, RecvFlags::DONTWAIT)
    }

    /// Reads what is there, or comes within a few milliseconds.
    pub(super) fn receive_soon(&self, buffer: &mut [u8], patience: &mut Patience) -> Received {
        if patience.begin() {
            let until = Instant::now() + SPELL;
            loop {
                let received = self.receive(buffer);
                if received != Received::Nothing {
                    patience.end(true);
                    return received;
                }
                if Instant::now() >= until {
                    patience.end(false);
                    break;
                }
                // Whoever is to answer may want this processor.
                thread::yield_now();
            }
        }
        self.receive_with(buffer, RecvFlags::empty())
    }

    /// Whether there is something to read, if only that it is over.
    pub(super) fn has_input(&self) -> bool {
        recv(&self.socket, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT).is_ok()
    }

    /// Waits for something to come in, for `bell` to ring, or until `limit` has passed.
    pub(super) fn wait(&self, bell: &Bell, limit: Option<Duration>) {
        let mut ready =
            [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&bell.heard, PollFlags::IN)];
        pause(&mut ready, limit);
    }

    /// Has whoever reads it find its end, and the server too.
    pub(super) fn shut_down(&self) {
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Readable once the serving process has ended.
    pub(super) fn server(&self) -> Option<BorrowedFd<'_>> {
        self.server.as_ref().map(|server| server.ended.as_fd())
    }

    /// The server in words, for an error: which process, and in what state.
    pub(super) fn describe(&self) -> String {
        match &self.server {
            Some(server) => process::describe(server.pid),
            None => "the server".to_owned(),
        }
    }

    fn receive_with(&self, buffer: &mut [u8], flags: RecvFlags) -> Received {
        loop {
            match recv(&self.socket, &mut *buffer, flags) {
                Ok((0, _)) => return Received::Over,
                Ok((count, _)) => return Received::Bytes(count),
                Err(Errno::AGAIN) => return Received::Nothing,
                Err(Errno::INTR) => {}
                Err(_) => return Received::Over,
            }
        }
    }
}

/// Calls a thread that waits for descriptors.
#[derive(Debug)]
pub(super) struct Bell {
    rung: UnixStream,
    pub(super) heard: UnixStream,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        let (rung, heard) = UnixStream::pair()?;
        rung.set_nonblocking(true)?;
        heard.set_nonblocking(true)?;
        Ok(Self { rung, heard })
    }

    pub(super) fn ring(&self) {
        // It fails only where it has been rung many times already.
        let _ = rustix::io::write(&self.rung, &[1]);
    }

    /// Takes note of having been rung so far.
    pub(super) fn settle(&self) {
        let mut buffer = [0; 64];
        while rustix::io::read(&self.heard, &mut buffer) == Ok(buffer.len()) {}
    }
}

/// Waits for one of these, or until `limit` has passed.
pub(super) fn pause(ready: &mut [PollFd<'_>], limit: Option<Duration>) {
    let limit = limit.and_then(|limit| limit.try_into().ok());
    // Whoever is interrupted looks.
    let _ = poll(ready, limit.as_ref());
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn watch_server(stream: &UnixStream) -> Option<ServerProcess> {
    use rustix::process::{PidfdFlags, pidfd_open};
    let server = rustix::net::sockopt::socket_peercred(stream).ok()?;
    let ended = pidfd_open(server.pid, PidfdFlags::empty()).ok()?;
    Some(ServerProcess { pid: server.pid.as_raw_nonzero().get().cast_unsigned(), ended })
}

/// Elsewhere the end of its connections tells of a server's.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn watch_server(_: &UnixStream) -> Option<ServerProcess> {
    None
}
