//! Connections that are being made, several at a time where one may be lost on its way (N7).

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, MutexGuard};

use locks_core::LockError;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::socket::LinkSocket;
use super::{Link, LinkShared};
use crate::client::session::Hello;
use crate::client::{Dial, Stream, Unreached};
use crate::secret::Secured;
use crate::tls::{Tls, TlsFault};

/// Those that are being made, oldest first.
pub(super) type Attempts = VecDeque<Attempt>;

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) number: u64,
    socket: Arc<OwnedFd>,
    /// Once it is connected.
    tls: Option<Box<Tls>>,
    /// What the socket has not taken.
    unsent: Vec<u8>,
    /// TLS is there, beside another connection, and this has been said over it.
    said: Option<Hello>,
}

/// How far an attempt has come.
enum Progress {
    Under,
    /// There is TLS.
    Secured,
    /// The server has answered.
    Answered,
}

/// A number from 0 to 255 that is another one in each process and time.
pub(super) fn chance() -> u8 {
    crate::secret::random::<1>().map_or(0, |[byte]| byte)
}

impl Attempt {
    pub(super) fn new(number: u64, socket: Arc<OwnedFd>) -> Self {
        Self { number, socket, tls: None, unsent: Vec::new(), said: None }
    }

    /// What tells that it has come further.
    pub(super) fn awaited(&self) -> (u64, Arc<OwnedFd>, PollFlags) {
        let waits_for_room = self.tls.is_none() || !self.unsent.is_empty();
        let events = if waits_for_room { PollFlags::OUT } else { PollFlags::IN };
        (self.number, Arc::clone(&self.socket), events)
    }

    /// To be asked after its descriptor was ready.
    fn go_on(&mut self, dial: &dyn Dial) -> Result<Progress, Unreached> {
        let failed = |error: io::Error| Unreached::of(dial.name(), error);
        let mut buffer = [0_u8; 8192];
        if self.said.is_some() {
            let looked =
                receive(&self.socket, &mut buffer[..1], RecvFlags::PEEK).map_err(failed)?;
            return Ok(looked.map_or(Progress::Under, |_| Progress::Answered));
        }
        let mut received = &[][..];
        let tls = match &mut self.tls {
            Some(tls) => {
                if let Some(count) =
                    receive(&self.socket, &mut buffer, RecvFlags::empty()).map_err(failed)?
                {
                    received = &buffer[..count];
                }
                tls
            }
            none => {
                let error = rustix::net::sockopt::socket_error(&self.socket);
                error.and_then(|error| error).map_err(|error| failed(error.into()))?;
                let begun = dial.tls().map(|tls| tls.begin()).transpose();
                let begun = begun.map_err(|error| refused(TlsFault::of_client(&error)))?;
                let closed = || failed(io::ErrorKind::Unsupported.into());
                none.insert(Box::new(begun.ok_or_else(closed)?))
            }
        };
        let taken = tls.receive(received, &mut Vec::new(), &mut self.unsent);
        let sent = self.flush();
        taken.map_err(|error| refused(TlsFault::of_client(&error)))?;
        sent.map_err(failed)?;
        let is_there = self.tls.as_ref().is_some_and(|tls| tls.is_there());
        Ok(if is_there && self.unsent.is_empty() { Progress::Secured } else { Progress::Under })
    }

    /// Says hello over it, beside a connection that may be dead.
    fn say(&mut self, hello: Hello) -> io::Result<()> {
        let said = self.tls.as_mut().map(|tls| tls.send(&hello.bytes, &mut self.unsent));
        said.transpose().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        self.said = Some(hello);
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty() {
            match send(&self.socket, &self.unsent, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn into_wire(self, dial: &dyn Dial) -> io::Result<(LinkSocket, Option<Hello>, Secured)> {
        let Self { socket, tls, said, .. } = self;
        let tls = tls.ok_or(io::ErrorKind::NotConnected)?;
        let secured = dial.tls().map(|it| it.secured(&tls)).unwrap_or_default();
        Ok((LinkSocket::secured(socket, *tls)?, said, secured))
    }
}

impl Link {
    /// Makes an attempt beside a connection that is silent, if one is due.
    pub(super) fn reach_beside(&self, shared: &mut LinkShared) {
        let now = shared.session.now();
        let (silent, beat) = (shared.session.silent_since(), shared.session.beat());
        let in_vain = !shared.session.wants_server() || shared.wire.is_some() && silent.is_none();
        if in_vain && !shared.attempts.is_empty() {
            shared.attempts.clear();
            shared.reach.end_beside();
        }
        if shared.wire.is_none() || shared.reach.next_beside(silent, beat).is_none_or(|at| at > now)
        {
            return;
        }
        // It does not wait: only what is connected by itself has to be there at once.
        match self.dial.dial(std::time::Instant::now()) {
            Ok(Stream::Tcp(socket)) => self.attempt(shared, socket),
            // One of this machine is not lost on its way.
            Ok(Stream::Unix(_)) | Err(_) => _ = shared.reach.begin_beside(now),
        }
    }

    /// One more is under way.
    pub(super) fn attempt(&self, shared: &mut LinkShared, socket: Arc<OwnedFd>) {
        let (number, given_up) = shared.reach.begin_beside(shared.session.now());
        shared.attempts.retain(|attempt| Some(attempt.number) != given_up);
        shared.attempts.push_back(Attempt::new(number, socket));
    }

    /// Goes on with those of which something is to be heard.
    pub(super) fn go_on<'a>(
        &'a self,
        mut shared: MutexGuard<'a, LinkShared>,
        ready: &[u64],
    ) -> MutexGuard<'a, LinkShared> {
        for number in ready {
            let place = shared.attempts.iter().position(|attempt| attempt.number == *number);
            let Some(mut attempt) = place.and_then(|place| shared.attempts.remove(place)) else {
                continue;
            };
            match attempt.go_on(&*self.dial) {
                Ok(Progress::Under) => shared.attempts.push_back(attempt),
                Ok(Progress::Secured) if shared.wire.is_none() => {
                    let wire = attempt.into_wire(&*self.dial);
                    let wire = wire.map(|(wire, _, secured)| (wire, secured));
                    self.dialed(&mut shared, wire);
                }
                Ok(Progress::Secured) => {
                    let tls = attempt.tls.as_ref().zip(self.dial.tls());
                    let secured = tls.map(|(tls, dial)| dial.secured(tls)).unwrap_or_default();
                    let hello = shared.session.hello(secured);
                    if attempt.say(hello).is_ok() {
                        shared.attempts.push_back(attempt);
                    }
                }
                Ok(Progress::Answered) => self.join(&mut shared, attempt),
                Err(unreached) if shared.wire.is_none() => {
                    self.unreached(&mut shared, unreached, None);
                }
                Err(_) => {}
            }
        }
        shared
    }

    /// It takes the place of the connection, which is silent.
    fn join(&self, shared: &mut LinkShared, attempt: Attempt) {
        if shared.wire.is_some() && shared.session.silent_since().is_none() {
            return;
        }
        let Ok((wire, Some(hello), _)) = attempt.into_wire(&*self.dial) else { return };
        if let Some(old) = shared.wire.take() {
            old.shut_down();
        }
        shared.unsent.clear();
        shared.attempts.clear();
        shared.reach.end_beside();
        shared.led = false;
        shared.wire = Some(Arc::new(wire));
        let (now, beat) = (shared.session.now(), shared.session.beat());
        shared.reach.failed(now, beat, chance());
        shared.session.joined(hello);
    }
}

/// What is there; `None`: nothing yet.
fn receive(socket: &OwnedFd, buffer: &mut [u8], how: RecvFlags) -> io::Result<Option<usize>> {
    match recv(socket, buffer, how | RecvFlags::DONTWAIT) {
        Ok((0, _)) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok((count, _)) => Ok(Some(count)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn refused(fault: TlsFault) -> Unreached {
    Unreached::Failed(LockError::new(fault.kind, "").with_message(fault.text))
}
