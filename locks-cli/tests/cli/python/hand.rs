//! A server by hand, whose frames come in the order that a test wants.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Python;
use crate::kit::{PATIENCE, Place, until};

/// Kinds of calls, by their first byte.
pub(super) const ACQUIRE: u8 = 1;
pub(super) const END: u8 = 2;
pub(super) const REFRESH: u8 = 3;
pub(super) const HOLDING: u8 = 10;
pub(super) const PING: u8 = 11;

/// A server by hand, whose frames come in the order that a test wants.
pub(super) struct Hand {
    socket: PathBuf,
    listener: UnixListener,
    stream: UnixStream,
    said: u64,
    /// The newest frame of the client.
    pub(super) heard: u64,
    lease: Duration,
    renews: bool,
}

impl Hand {
    /// A client that has a session and holds `k` by request `1`, as `a`; the place of its socket.
    pub(super) fn with_hold(place: &Place) -> (Self, Python) {
        Self::with_hold_for(place, Duration::from_secs(10), false)
    }

    /// The same, with a lease of that length.
    pub(super) fn with_hold_for(place: &Place, lease: Duration, renews: bool) -> (Self, Python) {
        let (mut hand, mut python) = Self::with_session(place, lease, renews);
        hand.is_asked_by(&mut python, "30");
        hand.granted(5);
        assert_eq!(python.answer(), "ok 5");
        (hand, python)
    }

    /// The client waits for `k`, by request `1`.
    pub(super) fn with_wait(place: &Place, lease: Duration) -> (Self, Python) {
        let (mut hand, mut python) = Self::with_session(place, lease, false);
        hand.is_asked_by(&mut python, "30");
        (hand, python)
    }

    /// The client has a session, and asks for nothing.
    pub(super) fn with_session(place: &Place, lease: Duration, renews: bool) -> (Self, Python) {
        let socket = place.path("socket");
        let listener = listen(&socket);
        let mut python = Python::start(&format!("unix://{}", socket.display()));
        let stream = accept(&listener);
        let mut hand = Self { socket, listener, stream, said: 0, heard: 0, lease, renews };
        hand.greet(1, 0);
        assert_eq!(python.ask(&["connection", "there"]), "ok there");
        (hand, python)
    }

    /// The client waits for `k`, by request `1` as `a`, for so long.
    pub(super) fn is_asked_by(&mut self, python: &mut Python, timeout: &str) {
        python.say(&["acquire", "a", "k", timeout]);
        self.asks();
    }

    /// The client asks for `k`, by request `1`.
    pub(super) fn asks(&mut self) {
        let acquire = self.call_but_ping();
        assert_eq!((acquire[0], &acquire[1..9]), (ACQUIRE, &1_u64.to_le_bytes()[..]));
    }

    pub(super) fn granted(&mut self, token: u64) {
        self.say(1, &[&[1], &1_u64.to_le_bytes()[..], &token.to_le_bytes()].concat());
    }

    /// It was granted, and lost before that was known.
    pub(super) fn granted_and_lost(&mut self, token: u64, cause: u8) {
        let granted = [&[1], &1_u64.to_le_bytes()[..], &token.to_le_bytes()].concat();
        let lost = [&[7], &1_u64.to_le_bytes()[..], &[cause]].concat();
        let frames = [granted, lost].map(|event| {
            self.said += 1;
            let body = [&self.said.to_le_bytes()[..], &1_u64.to_le_bytes(), &event].concat();
            [&u32::try_from(body.len()).unwrap().to_le_bytes()[..], &body].concat()
        });
        // At once, so that nobody looks in between.
        self.stream.write_all(&frames.concat()).unwrap();
    }

    /// The client connects again, and its session goes on as `how` says.
    pub(super) fn reconnect(&mut self, how: u8, applied: u64) {
        self.connect_again();
        self.greet(how, applied);
    }

    /// The same, over a connection that takes nothing more.
    pub(super) fn reconnect_deaf(&mut self, how: u8, applied: u64) {
        self.connect_again();
        self.meet();
        self.stream.shutdown(Shutdown::Read).unwrap();
        self.open(how, applied);
    }

    pub(super) fn connect_again(&mut self) {
        // So that it ends for the other side.
        self.stream.shutdown(Shutdown::Both).unwrap();
        self.stream = accept(&self.listener);
    }

    /// Stops serving, and waits until the client has noticed.
    pub(super) fn leave(&mut self, python: &mut Python) {
        self.vanish();
        assert_eq!(python.ask(&["connection", "gone"]), "ok gone");
    }

    /// Stops serving.
    pub(super) fn vanish(&mut self) {
        std::fs::remove_file(&self.socket).unwrap();
        self.stream.shutdown(Shutdown::Both).unwrap();
    }

    /// It serves again, and the client's session goes on as `how` says.
    pub(super) fn come_back(&mut self, how: u8, applied: u64) {
        self.listener = listen(&self.socket);
        self.stream = accept(&self.listener);
        self.greet(how, applied);
    }

    pub(super) fn greet(&mut self, how: u8, applied: u64) {
        self.meet();
        self.open(how, applied);
    }

    pub(super) fn meet(&mut self) {
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let hello = self.frame();
        assert_eq!((hello[0], hello.len()), (1, 35));
        self.put(&[&[2, 1, 0][..], &[7; 16], &[8; 32], &[0]].concat());
        assert_eq!(self.frame()[0], 4);
    }

    pub(super) fn open(&mut self, how: u8, applied: u64) {
        if how != 2 {
            self.said = 0;
        }
        let lease = u64::try_from(self.lease.as_nanos()).unwrap().to_le_bytes();
        let realm = 9_u32.to_le_bytes();
        let (applied, most) = (applied.to_le_bytes(), 262_144_u32.to_le_bytes());
        let renews = [u8::from(self.renews)];
        self.put(&[&[5, how][..], &realm, &[3; 16], &applied, &most, &lease, &renews].concat());
    }

    pub(super) fn put(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        self.stream.write_all(&[&length[..], body].concat()).unwrap();
    }

    /// An event, which acknowledges so much.
    pub(super) fn say(&mut self, ack: u64, event: &[u8]) {
        self.said += 1;
        let number = self.said.to_le_bytes();
        self.put(&[&number[..], &ack.to_le_bytes(), event].concat());
    }

    /// What was stolen.
    pub(super) fn lost(&mut self, ack: u64) {
        self.say(ack, &[&[7], &1_u64.to_le_bytes()[..], &[1]].concat());
    }

    pub(super) fn acknowledge(&mut self, ack: u64) {
        self.put(&[0_u64.to_le_bytes(), ack.to_le_bytes()].concat());
    }

    pub(super) fn frame(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut body = vec![0; u32::from_le_bytes(length) as usize];
        self.stream.read_exact(&mut body).unwrap();
        body
    }

    /// The next call of the client, without its numbers.
    pub(super) fn call(&mut self) -> Vec<u8> {
        loop {
            let frame = self.frame();
            if frame[..8] != [0; 8] {
                self.heard = u64::from_le_bytes(frame[..8].try_into().unwrap());
                return frame[16..].to_vec();
            }
        }
    }

    /// The next call of the client that is not there only to be acknowledged.
    pub(super) fn call_but_ping(&mut self) -> Vec<u8> {
        loop {
            let call = self.call();
            if call[0] != PING {
                return call;
            }
        }
    }

    /// The client has said so, as kinds of calls.
    pub(super) fn has_said(&mut self, kinds: &[u8]) {
        let said = kinds.iter().map(|_| self.call()[0]).collect::<Vec<_>>();
        assert_eq!(said, kinds);
    }
}

/// A socket of whose clients none is waited for without end.
pub(super) fn listen(socket: &Path) -> UnixListener {
    let listener = UnixListener::bind(socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

pub(super) fn accept(listener: &UnixListener) -> UnixStream {
    until("the client connects", || listener.accept().ok()).0
}
