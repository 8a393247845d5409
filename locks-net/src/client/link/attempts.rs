//! Connections that are being made, several at a time where one may be lost on its way (N7).

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, MutexGuard};

use rustix::event::PollFlags;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::line::Wire;
use super::thread::chance;
use super::{Link, Shared};
use crate::client::session::Hello;
use crate::client::{Line, Unreached};

/// One that is being made, oldest first.
pub(super) type Attempts = VecDeque<Attempt>;

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) number: u64,
    socket: Arc<OwnedFd>,
    /// It is connected, beside another one, and this has been said over it.
    said: Option<Hello>,
}

/// How far an attempt has come.
enum Progress {
    Under,
    Connected,
    /// The server has answered.
    Answered,
    Failed(io::Error),
}

impl Attempt {
    pub(super) const fn new(number: u64, socket: Arc<OwnedFd>) -> Self {
        Self { number, socket, said: None }
    }

    /// What tells that it has come further.
    pub(super) fn awaited(&self) -> (u64, Arc<OwnedFd>, PollFlags) {
        let events = if self.said.is_some() { PollFlags::IN } else { PollFlags::OUT };
        (self.number, Arc::clone(&self.socket), events)
    }

    /// To be asked after its descriptor was ready.
    fn progress(&self) -> Progress {
        if self.said.is_none() {
            return match rustix::net::sockopt::socket_error(&self.socket) {
                Ok(Ok(())) => Progress::Connected,
                Ok(Err(error)) | Err(error) => Progress::Failed(error.into()),
            };
        }
        match recv(&self.socket, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((0, _)) => Progress::Failed(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Progress::Answered,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Progress::Under,
            Err(error) => Progress::Failed(error.into()),
        }
    }
}

impl Link {
    /// Makes an attempt beside a connection that is silent, if one is due.
    pub(super) fn reach_beside(&self, shared: &mut Shared) {
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
            Ok(Line::Tcp(socket)) => self.attempt(shared, socket),
            // One of this machine is not lost on its way.
            Ok(Line::Unix(_)) | Err(_) => _ = shared.reach.begin_beside(now),
        }
    }

    /// One more is under way.
    pub(super) fn attempt(&self, shared: &mut Shared, socket: Arc<OwnedFd>) {
        let (number, given_up) = shared.reach.begin_beside(shared.session.now());
        shared.attempts.retain(|attempt| Some(attempt.number) != given_up);
        shared.attempts.push_back(Attempt::new(number, socket));
    }

    /// Goes on with those of which something is to be heard.
    pub(super) fn go_on<'a>(
        &'a self,
        mut shared: MutexGuard<'a, Shared>,
        ready: &[u64],
    ) -> MutexGuard<'a, Shared> {
        for number in ready {
            let place = shared.attempts.iter().position(|attempt| attempt.number == *number);
            let Some(mut attempt) = place.and_then(|place| shared.attempts.remove(place)) else {
                continue;
            };
            match attempt.progress() {
                Progress::Under => shared.attempts.push_back(attempt),
                Progress::Connected if shared.wire.is_none() => {
                    self.dialed(&mut shared, Line::Tcp(attempt.socket));
                }
                Progress::Connected => {
                    let hello = shared.session.hello(self.dial.secret());
                    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                    // What has just been connected has room for it.
                    if send(&attempt.socket, &hello.bytes, flags) == Ok(hello.bytes.len()) {
                        attempt.said = Some(hello);
                        shared.attempts.push_back(attempt);
                    }
                }
                Progress::Answered => self.join(&mut shared, attempt),
                Progress::Failed(error) if shared.wire.is_none() => {
                    let unreached = Unreached::of(self.dial.name(), error);
                    self.unreached(&mut shared, unreached, None);
                }
                Progress::Failed(_) => {}
            }
        }
        shared
    }

    /// It takes the place of the connection, which is silent.
    fn join(&self, shared: &mut Shared, attempt: Attempt) {
        let is_wanted = shared.wire.is_none() || shared.session.silent_since().is_some();
        let Some(hello) = attempt.said.filter(|_| is_wanted) else { return };
        let Ok(wire) = Wire::new(Line::Tcp(attempt.socket)) else { return };
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
