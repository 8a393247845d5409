use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, set_tcp_nodelay};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::adaptive_spin::{AdaptiveSpin, SPELL};
use crate::pidfd::{self, Pidfd};
use crate::server::process;
use crate::tls::{Tls, TlsFault};

/// How long a blocked thread reads before it gets ready for being called away.
pub(super) const BRIEFLY: Duration = Duration::from_millis(5);

/// A connection's socket, and the process at its other end, if that is of this machine.
#[derive(Debug)]
pub(super) struct LinkSocket {
    socket: Arc<OwnedFd>,
    server: Option<Arc<ServerProcess>>,
    secure: Option<Mutex<Secure>>,
    /// There is something in [`Secure::unsent`].
    is_stuck: AtomicBool,
    /// Why TLS has failed, once it has.
    fault: OnceLock<TlsFault>,
}

/// TLS, over TCP.
#[derive(Debug)]
struct Secure {
    tls: Tls,
    plain: Vec<u8>,
    /// What the socket has not taken.
    unsent: Vec<u8>,
}

/// The process at the other end.
#[derive(Debug)]
pub(super) struct ServerProcess {
    /// 0: it has no number here.
    pid: u32,
    /// Readable once it has ended.
    ended: Pidfd,
}

/// What reading comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadOutcome {
    Bytes(usize),
    /// It is open, its server lives, and there is nothing.
    Nothing,
    Over,
}

impl LinkSocket {
    /// To a server of this machine.
    pub(super) fn local(stream: UnixStream) -> io::Result<Self> {
        let server = watch_server(&stream);
        Self::new(Arc::new(stream.into()), server, None)
    }

    /// Over TCP.
    pub(super) fn secured(socket: Arc<OwnedFd>, tls: Tls) -> io::Result<Self> {
        set_tcp_nodelay(&socket, true)?;
        rustix::io::ioctl_fionbio(&socket, false)?;
        Self::new(socket, None, Some(Secure { tls, plain: Vec::new(), unsent: Vec::new() }))
    }

    fn new(
        socket: Arc<OwnedFd>,
        server: Option<Arc<ServerProcess>>,
        secure: Option<Secure>,
    ) -> io::Result<Self> {
        set_socket_timeout(&socket, Timeout::Recv, Some(BRIEFLY))?;
        let (is_stuck, fault) = (AtomicBool::new(false), OnceLock::new());
        Ok(Self { socket, server, secure: secure.map(Mutex::new), is_stuck, fault })
    }

    /// Sends as much as the socket takes now. What it has taken itself, and the socket has not, is
    /// sent by the next call.
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let Some(secure) = &self.secure else { return self.send_plainly(bytes) };
        let secure = &mut *secure.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = 0;
        if secure.unsent.is_empty() && !bytes.is_empty() {
            let said = secure.tls.send(bytes, &mut secure.unsent);
            said.map_err(|error| io::Error::other(TlsFault::of_client(&error).text))?;
            taken = bytes.len();
        }
        let sent = self.send_plainly(&secure.unsent)?;
        secure.unsent.drain(..sent);
        self.is_stuck.store(!secure.unsent.is_empty(), Ordering::Relaxed);
        Ok(taken)
    }

    /// Whether the socket has yet to take something.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }

    /// Why it is over, if TLS says so.
    pub(super) fn fault(&self) -> Option<&TlsFault> {
        self.fault.get()
    }

    fn send_plainly(&self, bytes: &[u8]) -> io::Result<usize> {
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
    pub(super) fn receive(&self, buffer: &mut [u8]) -> ReadOutcome {
        let received = self.receive_with(buffer, RecvFlags::DONTWAIT);
        self.unless_over(buffer, received)
    }

    /// Reads what is there, or comes within a few milliseconds.
    pub(super) fn receive_soon(&self, buffer: &mut [u8], spin: &mut AdaptiveSpin) -> ReadOutcome {
        if spin.begin() {
            let until = Instant::now() + SPELL;
            loop {
                let received = self.receive_with(buffer, RecvFlags::DONTWAIT);
                if received != ReadOutcome::Nothing {
                    spin.end(true);
                    return received;
                }
                if Instant::now() >= until {
                    spin.end(false);
                    break;
                }
                // Whoever is to answer may want this processor.
                thread::yield_now();
            }
        }
        let received = self.receive_with(buffer, RecvFlags::empty());
        self.unless_over(buffer, received)
    }

    /// Whether there is something to read, if only that it is over.
    pub(super) fn has_input(&self) -> bool {
        recv(&self.socket, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT).is_ok()
    }

    /// Waits for something to come in, for `notifier` to be notified, or until `limit` has passed.
    pub(super) fn wait(&self, notifier: &Notifier, limit: Option<Duration>) {
        let mut ready =
            [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&notifier.heard, PollFlags::IN)];
        pause(&mut ready, limit);
    }

    /// Has whoever reads it find its end, and the server too.
    pub(super) fn shut_down(&self) {
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The serving process, if it is of this machine.
    pub(super) fn server(&self) -> Option<&Arc<ServerProcess>> {
        self.server.as_ref()
    }

    /// The server in words, for an error: which process, and in what state.
    pub(super) fn describe(&self) -> String {
        match &self.server {
            Some(server) => server.describe(),
            None => "the server".to_owned(),
        }
    }

    /// A child that the server has forked keeps the socket open, and says nothing.
    fn unless_over(&self, buffer: &mut [u8], received: ReadOutcome) -> ReadOutcome {
        let ended = || self.server.as_ref().is_some_and(|server| server.has_ended());
        if received != ReadOutcome::Nothing || !ended() {
            return received;
        }
        // What it had said before is still there.
        match self.receive_with(buffer, RecvFlags::DONTWAIT) {
            ReadOutcome::Nothing => ReadOutcome::Over,
            last_words => last_words,
        }
    }

    fn receive_with(&self, buffer: &mut [u8], flags: RecvFlags) -> ReadOutcome {
        // What was begun by bytes before may come out with these.
        let room = buffer.len() / if self.secure.is_some() { 2 } else { 1 };
        loop {
            match recv(&self.socket, &mut buffer[..room], flags) {
                Ok((0, _)) => return ReadOutcome::Over,
                Ok((count, _)) => match &self.secure {
                    None => return ReadOutcome::Bytes(count),
                    Some(secure) => match self.open(secure, buffer, count) {
                        ReadOutcome::Nothing => {}
                        received => return received,
                    },
                },
                Err(Errno::AGAIN) => return ReadOutcome::Nothing,
                Err(Errno::INTR) => {}
                Err(_) => return ReadOutcome::Over,
            }
        }
    }
}

impl LinkSocket {
    /// Puts what is said by the first `count` bytes of `buffer` in their place.
    fn open(&self, secure: &Mutex<Secure>, buffer: &mut [u8], count: usize) -> ReadOutcome {
        let Secure { tls, plain, unsent } =
            &mut *secure.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = tls.receive(&buffer[..count], plain, unsent);
        self.is_stuck.store(!unsent.is_empty(), Ordering::Relaxed);
        if let Err(error) = taken {
            let _ = self.fault.set(TlsFault::of_client(&error));
            return ReadOutcome::Over;
        }
        let count = plain.len();
        buffer[..count].copy_from_slice(plain);
        plain.clear();
        match count {
            0 if tls.is_over() => ReadOutcome::Over,
            0 => ReadOutcome::Nothing,
            count => ReadOutcome::Bytes(count),
        }
    }
}

impl ServerProcess {
    pub(super) fn has_ended(&self) -> bool {
        self.ended.has_ended()
    }

    /// It in words, for the beginning of a sentence. Its number may be another one's by now.
    pub(super) fn describe(&self) -> String {
        match self.pid {
            _ if self.has_ended() => "the process that served, which has ended,".to_owned(),
            0 => "the server, a process that is not to be seen from here,".to_owned(),
            pid => process::describe(pid),
        }
    }

    /// Readable once it has ended.
    pub(super) fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

/// Calls a thread that waits for descriptors.
#[derive(Debug)]
pub(super) struct Notifier {
    notify: UnixStream,
    pub(super) heard: UnixStream,
}

impl Notifier {
    pub(super) fn new() -> io::Result<Self> {
        let (notify, heard) = UnixStream::pair()?;
        notify.set_nonblocking(true)?;
        heard.set_nonblocking(true)?;
        Ok(Self { notify, heard })
    }

    pub(super) fn notify(&self) {
        // It fails only where it has been notified many times already.
        let _ = rustix::io::write(&self.notify, &[1]);
    }

    /// Takes note of the notifications so far.
    pub(super) fn drain(&self) {
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

/// `None` where the system does not tell: the end of its connections tells of a server's, then.
fn watch_server(stream: &UnixStream) -> Option<Arc<ServerProcess>> {
    let (pid, _) = pidfd::peer_credentials(stream).ok()?;
    let ended = match Pidfd::of_peer(stream).ok()? {
        Some(ended) => ended,
        None => Pidfd::open(pid).ok()?,
    };
    Some(Arc::new(ServerProcess { pid, ended }))
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
impl LinkSocket {
    /// With another process at its other end than the one that is there.
    pub(super) fn of_process(mut self, pid: u32) -> Self {
        let ended = Pidfd::open(pid).unwrap();
        self.server = Some(Arc::new(ServerProcess { pid, ended }));
        self
    }
}
