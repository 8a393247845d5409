use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown};
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::descriptor::Descriptor;
use super::ready_queue::ReadySource;
use crate::arbiter::Peer;
use crate::journal::SessionKind;
use crate::pidfd::{self, Pidfd};
use crate::tls::ServerTls;
use crate::wire::{Greeting, Rejected, Why, put_frame};

/// A socket that takes connections.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket,
    waker: Waker,
    /// To be closed when there are no descriptors left, so that the next client can be told so.
    spare: Option<File>,
}

#[derive(Debug)]
enum Socket {
    Unix {
        listener: UnixListener,
        /// Users that are let in.
        users: BTreeSet<u32>,
    },
    Tcp {
        listener: TcpListener,
        tls: Arc<ServerTls>,
    },
}

const OUT_OF_DESCRIPTORS: &str =
    "the lock server has no descriptors left for more clients: raise its limit (`ulimit -n`)";

impl Drop for Socket {
    fn drop(&mut self) {
        // A child that was forked meanwhile has it open, too, and accepts nobody: whoever connects
        // is to be refused, and the next server here to have the address.
        let _ = rustix::net::shutdown(self.as_fd(), Shutdown::Both);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Unix { listener, .. } => listener.as_fd(),
            Socket::Tcp { listener, .. } => listener.as_fd(),
        }
    }
}

/// What became of looking for a connection.
#[derive(Debug)]
pub(super) enum Accepted {
    /// Somebody is there.
    Peer(Box<Newcomer>),
    /// Somebody was there and is not let in; why, if that is of interest.
    TurnedAway(Option<String>),
    /// Nobody; it is marked ready when that changes.
    Nobody,
    /// There are no descriptors left: to be tried again after a while.
    Exhausted,
}

/// A connection that was just taken.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) socket: Descriptor,
    pub(super) peer: Peer,
    /// Where it comes from, if not from this machine's own sockets.
    pub(super) from: Option<IpAddr>,
    /// The process at its other end, if that keeps its session.
    pub(super) process: Option<Pidfd>,
    /// How its TLS is begun, over TCP.
    pub(super) tls: Option<Arc<ServerTls>>,
}

impl Accepted {
    /// It is registered in another way than the runtime does by itself.
    fn of(
        stream: io::Result<impl Into<OwnedFd>>,
        peer: Peer,
        process: Option<Pidfd>,
        tls: Option<Arc<ServerTls>>,
    ) -> Self {
        match stream.and_then(|stream| Descriptor::new(stream.into())) {
            Ok(socket) => {
                Accepted::Peer(Box::new(Newcomer { socket, from: peer.from, peer, process, tls }))
            }
            Err(_) => Accepted::TurnedAway(None),
        }
    }
}

impl Listener {
    pub(super) fn unix(
        listener: UnixListener,
        users: BTreeSet<u32>,
        ready_source: Arc<ReadySource>,
    ) -> Self {
        Self::new(Socket::Unix { listener, users }, ready_source)
    }

    pub(super) fn tcp(
        listener: TcpListener,
        tls: Arc<ServerTls>,
        ready_source: Arc<ReadySource>,
    ) -> Self {
        Self::new(Socket::Tcp { listener, tls }, ready_source)
    }

    /// Connections over TCP are begun so from now on.
    pub(super) fn set_tls(&mut self, new: &Arc<ServerTls>) {
        if let Socket::Tcp { tls, .. } = &mut self.socket {
            *tls = Arc::clone(new);
        }
    }

    fn new(socket: Socket, ready_source: Arc<ReadySource>) -> Self {
        Self { socket, waker: Waker::from(ready_source), spare: spare() }
    }

    /// The next connection. Where there are no descriptors for it, it is turned away; or it keeps
    /// its place until there are, while so many clients are `awaited` who may come back to what
    /// they hold.
    pub(super) fn accept(&mut self, awaited: usize) -> Accepted {
        self.spare = self.spare.take().or_else(spare);
        let kept = kept();
        let wanted = kept + 2 * awaited;
        let found = descriptors(&self.socket, wanted);
        // Who comes back needs one more for a moment than it had.
        if awaited > 0 && found < kept / 2 {
            return Accepted::Exhausted;
        }
        let has_room = awaited > 0 || found >= kept;
        // More than are wanted are not counted.
        let descriptors_left = if found < wanted { found.saturating_sub(kept) } else { usize::MAX };
        let cx = &mut Context::from_waker(&self.waker);
        let outcome = match &self.socket {
            Socket::Unix { listener, users } => {
                listener.poll_accept(cx).map_ok(|(stream, _)| match has_room {
                    true => unix_peer(stream, users, descriptors_left),
                    false => no_room(&stream),
                })
            }
            Socket::Tcp { listener, tls } => {
                listener.poll_accept(cx).map_ok(|(stream, from)| {
                    if !has_room {
                        return no_room(&stream);
                    }
                    // Frames are small and awaited. Without it they are merely late.
                    let _ = stream.set_nodelay(true);
                    let peer = Peer { descriptors_left, ..Peer::remote(from.ip().to_canonical()) };
                    Accepted::of(stream.into_std(), peer, None, Some(Arc::clone(tls)))
                })
            }
        };
        match outcome {
            Poll::Pending => Accepted::Nobody,
            Poll::Ready(Ok(accepted)) => accepted,
            Poll::Ready(Err(error)) if is_exhausted(&error) => {
                self.turn_one_away();
                Accepted::Exhausted
            }
            // Whoever it was has gone.
            Poll::Ready(Err(_)) => Accepted::TurnedAway(None),
        }
    }

    /// With the spare descriptor.
    fn turn_one_away(&mut self) {
        if self.spare.take().is_none() {
            return;
        }
        if let Ok(stream) = rustix::net::accept(self.socket.as_fd()) {
            reject(&stream, Why::LimitExceeded, OUT_OF_DESCRIPTORS);
        }
        self.spare = spare();
    }
}

/// Says no to somebody who has just connected, if that can be said at once.
fn reject(stream: impl AsFd, why: Why, text: &str) {
    let frame = refusal(why, text);
    let _ = rustix::net::send(stream, &frame, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}

/// What that is said by.
pub(super) fn refusal(why: Why, text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    let rejected = Rejected { why, text: text.to_owned() };
    put_frame(&mut frame, |body| rejected.encode(body));
    frame
}

/// How many of `wanted` descriptors can be opened now. The number of the next one does not say:
/// there may be gaps below.
fn descriptors(socket: &Socket, wanted: usize) -> usize {
    let duplicates = std::iter::repeat_with(|| rustix::io::fcntl_dupfd_cloexec(socket.as_fd(), 0));
    duplicates.take(wanted).map_while(Result::ok).collect::<Vec<_>>().len()
}

/// So many descriptors the server keeps for what it has to open itself: for its journal, its
/// tokens, and to tell processes apart (N6).
fn kept() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit / 8).unwrap_or(usize::MAX).clamp(4, 16)
}

/// Says so to whoever is there.
fn no_room(stream: impl AsFd) -> Accepted {
    reject(stream, Why::LimitExceeded, OUT_OF_DESCRIPTORS);
    Accepted::Exhausted
}

/// Who is at the other end of a Unix socket, by the kernel's word (N5).
fn unix_peer(stream: UnixStream, users: &BTreeSet<u32>, descriptors_left: usize) -> Accepted {
    let Ok((pid, uid)) = pidfd::peer_credentials(&stream) else {
        return Accepted::TurnedAway(None);
    };
    if !users.contains(&uid) {
        let why = format!("user {uid} is not let in by this server");
        reject(&stream, Why::Unauthorized, &why);
        return Accepted::TurnedAway(Some(why));
    }
    let process = match Pidfd::of_peer(&stream) {
        Ok(Some(fd)) => Ok(Some(fd)),
        // On an older kernel, whoever has no number here tells nobody of its end.
        Ok(None) if pid == 0 => Ok(None),
        Ok(None) => Pidfd::open(pid).map(Some),
        Err(error) => Err(error),
    };
    let (kept, process) = match process {
        Ok(Some(fd)) => (SessionKind::ByProcess(fd.process(pid)), Some(fd)),
        Ok(None) => (SessionKind::ByLease, None),
        // It would be kept by another measure than it was, or will be (N6).
        Err(error) if pidfd::is_exhaustion(error) => {
            reject(&stream, Why::LimitExceeded, OUT_OF_DESCRIPTORS);
            return Accepted::TurnedAway(Some(OUT_OF_DESCRIPTORS.to_owned()));
        }
        // It has ended since: whatever it asked for is for nobody.
        Err(_) => return Accepted::TurnedAway(None),
    };
    // The server's own user could as well end it, and root everything.
    let administers = uid == 0 || uid == rustix::process::geteuid().as_raw();
    let peer = Peer { descriptors_left, administers, ..Peer::new(kept, None) };
    Accepted::of(stream.into_std(), peer, process, None)
}

fn is_exhausted(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(pidfd::is_exhaustion)
}

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}
