use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::accept::Newcomer;
use super::descriptor::Descriptor;
use super::handshakes::Job;
use super::ready_queue::ReadySource;
use crate::access::Fingerprint;
use crate::arbiter::ConnId;
use crate::pidfd::Pidfd;
use crate::tls::{FIRST_BYTE, ServerTls, Tls};
use locks_core::Moment;

/// One connection's socket, and what waits to be written to it.
#[derive(Debug)]
pub(super) struct ConnectionSocket {
    socket: Descriptor,
    ready_source: Arc<ReadySource>,
    waker: Waker,
    /// What is to be sent; up to `sent` it has been.
    output: Vec<u8>,
    sent: usize,
    /// Since when the client has not taken anything of what there is for it.
    stuck_since: Option<Moment>,
    /// Its client's process keeps its session, and may be stopped for as long as it likes (N1). Its
    /// end is seen, and what waits to be written is bounded.
    may_rest: bool,
    /// It is on its way out: what comes in is not looked at, and it closes when it has been flushed
    /// and the client has closed too, at the latest then.
    pub(super) closing_by: Option<Moment>,
    /// Nothing is written before: its client was wrong about the secret (N5).
    pub(super) withheld_until: Option<Moment>,
    /// Where it comes from, if not from this machine's own sockets.
    pub(super) from: Option<IpAddr>,
    /// The process at its other end, until somebody waits for its end.
    pub(super) process: Option<Pidfd>,
    /// It is looked at every now and then.
    pub(super) is_attended: bool,
    /// Nothing is sent any more.
    is_shut: bool,
    security: Security,
    /// What is to be said once there is TLS.
    unsaid: Vec<u8>,
    is_familiar: bool,
}

/// How far a connection's TLS is.
#[derive(Debug)]
enum Security {
    /// Over a Unix socket, or with one who does not speak it: there is none.
    None,
    /// Nothing has come in yet.
    Awaited(Arc<ServerTls>),
    /// It is being worked on elsewhere: nothing is read meanwhile.
    Away(Arc<ServerTls>),
    Under(Arc<ServerTls>, Box<Tls>),
    There(Box<Tls>),
}

/// What the bytes were that have come in.
#[derive(Debug)]
pub(super) enum Incoming {
    /// What the client says, as it is.
    AsTheyAre,
    /// What the client says, in another place.
    Said,
    /// The last that it says.
    LastWords,
    /// A step of its TLS, to be gone.
    Step(Job),
    /// Nothing that TLS begins with, or none could be begun.
    Foreign,
    /// What is of no more interest.
    Nothing,
}

/// Buffers of connections that have nothing to say are no larger than this.
const IDLE_BUFFER: usize = 4096;

impl ConnectionSocket {
    pub(super) fn new(newcomer: Newcomer, ready_source: Arc<ReadySource>) -> Self {
        let Newcomer { socket, from, process, tls, peer } = newcomer;
        let waker = Waker::from(Arc::clone(&ready_source));
        Self {
            socket,
            ready_source,
            waker,
            output: Vec::new(),
            sent: 0,
            stuck_since: None,
            may_rest: false,
            closing_by: None,
            withheld_until: None,
            from,
            process,
            is_attended: false,
            is_shut: false,
            security: tls.map_or(Security::None, Security::Awaited),
            unsaid: Vec::new(),
            is_familiar: peer.is_familiar,
        }
    }

    /// From now on its client may read as late as it likes. What is known of its process, if nobody
    /// waits for the end of that yet.
    pub(super) fn let_rest(&mut self) -> Option<Pidfd> {
        (self.may_rest, self.stuck_since) = (true, None);
        self.process.take()
    }

    /// Whether nothing is to be read at present.
    pub(super) fn is_away(&self) -> bool {
        matches!(self.security, Security::Away(_))
    }

    /// Takes in what was received. What the client says behind TLS is in `said` then.
    pub(super) fn take_in(&mut self, id: ConnId, received: &[u8], said: &mut Vec<u8>) -> Incoming {
        said.clear();
        let closing = self.closing_by.is_some();
        match std::mem::replace(&mut self.security, Security::None) {
            Security::None if closing => Incoming::Nothing,
            Security::None => Incoming::AsTheyAre,
            Security::Awaited(_) if received.first() != Some(&FIRST_BYTE) => Incoming::Foreign,
            Security::Awaited(server) => match server.begin() {
                Ok(tls) => self.step(id, server, Box::new(tls), received),
                Err(_) => Incoming::Foreign,
            },
            Security::Under(server, tls) => self.step(id, server, tls, received),
            Security::There(mut tls) => {
                let taken = tls.receive(received, said, &mut self.output);
                let is_over = taken.is_err() || tls.is_over();
                self.security = Security::There(tls);
                match is_over {
                    _ if closing => Incoming::Nothing,
                    true => Incoming::LastWords,
                    false => Incoming::Said,
                }
            }
            away @ Security::Away(_) => {
                self.security = away;
                Incoming::Nothing
            }
        }
    }

    fn step(
        &mut self,
        id: ConnId,
        server: Arc<ServerTls>,
        tls: Box<Tls>,
        received: &[u8],
    ) -> Incoming {
        self.security = Security::Away(server);
        let received = received.to_vec();
        Incoming::Step(Job { id, tls, received, is_familiar: self.is_familiar })
    }

    /// A step of its TLS has been gone. Once that is there: its own certificate, and the client's
    /// if it has one.
    pub(super) fn secure(
        &mut self,
        tls: Option<Box<Tls>>,
        out: &[u8],
    ) -> Option<(Fingerprint, Option<Fingerprint>)> {
        self.output.extend_from_slice(out);
        let security = std::mem::replace(&mut self.security, Security::None);
        let (Security::Away(server), Some(tls)) = (security, tls) else { return None };
        if !tls.is_there() {
            self.security = Security::Under(server, tls);
            return None;
        }
        let shown = (server.fingerprint(), tls.peer());
        self.security = Security::There(tls);
        let unsaid = std::mem::take(&mut self.unsaid);
        if !unsaid.is_empty() {
            self.say(&unsaid);
        }
        Some(shown)
    }

    /// Puts what is to be said, which `take` appends to what it is given, where it is sent from.
    pub(super) fn say_what(&mut self, scratch: &mut Vec<u8>, take: impl FnOnce(&mut Vec<u8>)) {
        match self.security {
            Security::None => take(&mut self.output),
            Security::There(_) => {
                scratch.clear();
                take(scratch);
                self.say(scratch);
            }
            Security::Awaited(_) | Security::Away(_) | Security::Under(..) => {
                take(&mut self.unsaid);
            }
        }
    }

    fn say(&mut self, what: &[u8]) {
        if let Security::There(tls) = &mut self.security
            && !what.is_empty()
        {
            // One that has failed is at its end, which reading tells.
            let _ = tls.send(what, &mut self.output);
        }
    }

    /// Reads what is there into `buffer`, or `None` if there is nothing; nothing read is the end.
    /// It is marked ready when there is more.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        let cx = &mut Context::from_waker(&self.waker);
        match self.socket.poll_receive(cx, buffer) {
            Poll::Pending => None,
            Poll::Ready(outcome) => Some(outcome),
        }
    }

    /// Writes what the socket takes. It is marked ready when it takes more.
    pub(super) fn flush(&mut self, now: Moment) -> io::Result<()> {
        if self.withheld_until.is_some_and(|until| now < until) {
            return Ok(());
        }
        self.withheld_until = None;
        while self.has_output() {
            let cx = &mut Context::from_waker(&self.waker);
            match self.socket.poll_send(cx, &self.output[self.sent..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    self.sent += written;
                    self.stuck_since = None;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    if !self.may_rest {
                        self.stuck_since.get_or_insert(now);
                    }
                    self.ring_if_new();
                    // What has been sent is not kept for longer than it takes to send as much
                    // again.
                    if self.sent > self.output.len() / 2 {
                        self.output.drain(..self.sent);
                        self.sent = 0;
                    }
                    return Ok(());
                }
            }
        }
        self.output.clear();
        self.output.shrink_to(IDLE_BUFFER);
        self.sent = 0;
        self.socket.rest()?;
        self.ring_if_new();
        Ok(())
    }

    /// Whether it was to be closed and nothing is left to be sent.
    ///
    /// Over TCP the client then has to close too: otherwise what it has sent and nobody has read
    /// would take what was sent to it out of its hands.
    pub(super) fn has_gone(&mut self) -> bool {
        if self.closing_by.is_none() || self.has_output() || !self.unsaid.is_empty() {
            return false;
        }
        if let Security::There(tls) = &mut self.security
            && !self.is_shut
        {
            tls.close(&mut self.output);
            let _ = self.socket.send_last(&self.output);
            self.output.clear();
        }
        let is_local = self.from.is_none();
        is_local || (!std::mem::replace(&mut self.is_shut, true) && self.socket.shut().is_err())
    }

    /// Has it looked at in the next round.
    pub(super) fn mark_ready(&self) {
        self.ready_source.mark_ready();
    }

    pub(super) fn has_output(&self) -> bool {
        self.sent < self.output.len()
    }

    /// How much waits to be written.
    pub(super) fn waiting(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Whether it is to be looked at again without anything coming in.
    pub(super) fn has_deadline(&self) -> bool {
        self.stuck_since.is_some() || self.closing_by.is_some() || self.withheld_until.is_some()
    }

    /// Reading registers its waker.
    fn ring_if_new(&mut self) {
        if self.socket.is_new() {
            self.mark_ready();
        }
    }

    /// Whether its client has been too slow, or its time to close has come.
    pub(super) fn is_overdue(&self, now: Moment, patience: Duration) -> bool {
        self.stuck_since.is_some_and(|since| now.since(since) >= patience)
            || self.closing_by.is_some_and(|by| by <= now)
    }
}
