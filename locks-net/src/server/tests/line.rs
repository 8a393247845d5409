//! A client that says what it likes, and reads when it likes.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use locks_core::{BootClock, Clock, Options, OwnerId, ProcessInfo, Wait};

use crate::channel::{Arrived, Channel};
use crate::secret::{ClientHandshake, Secret, Secured};
use crate::tls::{ClientTls, Tls, Trusted};
use crate::wire::{
    Acquire, Call, Event, FrameReader, Greeting, How, Open, Opened, Rejected, Resume,
    decode_answer, put_frame, split_frame,
};

pub(crate) trait Wire: Read + Write + Send {
    fn set_timeout(&self, timeout: Duration);
}

impl Wire for UnixStream {
    fn set_timeout(&self, timeout: Duration) {
        self.set_read_timeout(Some(timeout)).unwrap();
    }
}

impl Wire for TcpStream {
    fn set_timeout(&self, timeout: Duration) {
        self.set_read_timeout(Some(timeout)).unwrap();
    }
}

/// TCP with TLS.
pub(crate) struct Secure {
    stream: TcpStream,
    tls: Tls,
    plain: Vec<u8>,
}

impl Secure {
    pub(crate) fn new(stream: TcpStream, secret: Secret) -> (Self, Secured) {
        stream.set_timeout(Duration::from_secs(20));
        let config = ClientTls::new("localhost", Some(secret), Trusted::default()).unwrap();
        let tls = config.begin().unwrap();
        let mut secure = Self { stream, tls, plain: Vec::new() };
        secure.take_in(&[]).unwrap();
        while !secure.tls.is_there() {
            secure.read_some().unwrap();
        }
        let secured = config.secured(&secure.tls);
        (secure, secured)
    }

    fn read_some(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 4096];
        let count = self.stream.read(&mut bytes)?;
        self.take_in(&bytes[..count])?;
        Ok(count)
    }

    fn take_in(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut out = Vec::new();
        let taken = self.tls.receive(bytes, &mut self.plain, &mut out);
        self.stream.write_all(&out)?;
        taken.map_err(io::Error::other)
    }
}

impl Read for Secure {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.plain.is_empty() && !self.tls.is_over() && self.read_some()? > 0 {}
        let count = self.plain.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.plain[..count]);
        self.plain.drain(..count);
        Ok(count)
    }
}

impl Write for Secure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = Vec::new();
        self.tls.send(bytes, &mut out).map_err(io::Error::other)?;
        self.stream.write_all(&out)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Wire for Secure {
    fn set_timeout(&self, timeout: Duration) {
        self.stream.set_timeout(timeout);
    }
}

/// Why there is no session.
#[derive(Debug)]
pub(crate) enum Unopened {
    Rejected(Rejected),
    Cut(#[expect(dead_code, reason = "to be read where a test fails")] io::Error),
}

pub(crate) struct Line {
    pub(crate) stream: Box<dyn Wire>,
    pub(crate) opened: Opened,
    server: [u8; 16],
    channel: Channel,
    reader: FrameReader,
    events: Vec<Event>,
    next: u64,
}

/// What was dialed, on this machine.
pub(crate) fn connected(line: crate::client::Stream) -> UnixStream {
    match line {
        crate::client::Stream::Unix(stream) => stream,
        crate::client::Stream::Tcp(stream) => panic!("dialed {stream:?}"),
    }
}

pub(crate) fn unix(path: &Path) -> UnixStream {
    UnixStream::connect(path).unwrap()
}

impl Line {
    pub(crate) fn local(path: &Path) -> Self {
        Self::open(unix(path), Secured::default(), None, None).unwrap()
    }

    /// Over TCP, by TLS.
    pub(crate) fn tcp(
        address: impl ToSocketAddrs,
        secret: Secret,
        lease: Option<Duration>,
    ) -> Result<Self, Unopened> {
        let (stream, secured) = Secure::new(TcpStream::connect(address).unwrap(), secret);
        Self::open(stream, secured, None, lease)
    }

    pub(crate) fn open(
        stream: impl Wire + 'static,
        secured: Secured,
        resume: Option<Resume>,
        lease: Option<Duration>,
    ) -> Result<Self, Unopened> {
        let mut stream: Box<dyn Wire> = Box::new(stream);
        stream.set_timeout(Duration::from_secs(20));
        let mut reader = FrameReader::new(1 << 20);
        let mut handshake = ClientHandshake::new(secured, [9; 32]);
        let mut say = Some(handshake.hello());
        let established = loop {
            if let Some(greeting) = say.take() {
                send(&mut *stream, &greeting)?;
            }
            let answer = hear(&mut *stream, &mut reader)?;
            let step = handshake.receive(&answer).map_err(Unopened::Rejected)?;
            if let Some(established) = step.established {
                break established;
            }
            say = step.reply;
        };
        let mut open = Vec::new();
        Open { resume, party: ProcessInfo::default(), lease }.encode(&mut open);
        send(&mut *stream, &open)?;
        let answer = hear(&mut *stream, &mut reader)?;
        let opened = decode_answer::<Opened>(&answer).unwrap().map_err(Unopened::Rejected)?;
        let channel = Channel::default();
        let server = established.server;
        Ok(Self { stream, opened, server, channel, reader, events: Vec::new(), next: 0 })
    }

    /// What brings the session back.
    pub(crate) fn resumption(&self) -> Resume {
        Resume {
            realm: self.opened.realm,
            secret: self.opened.secret,
            server: self.server,
            received: self.channel.applied(),
        }
    }

    /// Goes on over another connection.
    pub(crate) fn resume(&mut self, stream: UnixStream) -> How {
        let fresh = Self::open(stream, Secured::default(), Some(self.resumption()), None).unwrap();
        let how = fresh.opened.how;
        (self.stream, self.opened, self.server) = (fresh.stream, fresh.opened, fresh.server);
        self.reader = fresh.reader;
        if how == How::Resumed {
            let mut bytes = Vec::new();
            self.channel.repeat(self.opened.applied, &mut bytes).unwrap();
            self.stream.write_all(&bytes).unwrap();
        } else {
            self.channel = Channel::default();
        }
        how
    }

    pub(crate) fn say(&mut self, call: &Call) {
        let bytes = self.frame(call);
        self.stream.write_all(&bytes).unwrap();
    }

    /// The bytes of the next frame.
    pub(crate) fn frame(&mut self, call: &Call) -> Vec<u8> {
        let (mut message, mut bytes) = (Vec::new(), Vec::new());
        call.encode(&mut message);
        self.channel.send(&message, BootClock.now(), Some(&mut bytes));
        bytes
    }

    /// The next event for which `find` has an answer.
    pub(crate) fn wait<T>(&mut self, find: impl Fn(&Event) -> Option<T>) -> io::Result<T> {
        let mut looked_at = 0;
        loop {
            while let Some(event) = self.events.get(looked_at) {
                if let Some(found) = find(event) {
                    self.events.remove(looked_at);
                    return Ok(found);
                }
                looked_at += 1;
            }
            self.read()?;
        }
    }

    /// Reads once.
    fn read(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let read = self.stream.read(&mut bytes)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.reader.push(&bytes[..read]);
        while let Some(body) = self.reader.next().unwrap() {
            let (number, ack, message) = split_frame(body).unwrap();
            self.channel.acknowledged(ack).unwrap();
            if number > 0 && self.channel.arrived(number).unwrap() == Arrived::New {
                self.events.push(Event::decode(message).unwrap());
            }
        }
        Ok(())
    }

    /// Asks for a key.
    pub(crate) fn ask(&mut self, key: &str, wait: bool) -> u64 {
        self.next += 1;
        let request = self.next;
        let call = acquire(request, key, if wait { Wait::Forever } else { Wait::Try });
        self.say(&call);
        request
    }

    /// The token that it was granted.
    pub(crate) fn granted(&mut self, wanted: u64) -> io::Result<u64> {
        self.wait(|event| match event {
            Event::Granted { request, token, .. } if *request == wanted => Some(Ok(token.get())),
            Event::Refused { call, error } if *call == wanted => {
                Some(Err(io::Error::other(error.to_string())))
            }
            _ => None,
        })?
    }

    pub(crate) fn acquire(&mut self, key: &str) -> io::Result<u64> {
        let request = self.ask(key, false);
        self.granted(request)
    }

    /// Whether somebody else has the key.
    pub(crate) fn is_contended(&mut self, key: &str) -> bool {
        let request = self.ask(key, false);
        let granted = self.granted(request);
        if granted.is_ok() {
            self.say(&Call::End { request });
        }
        granted.is_err()
    }

    /// Returns once everything that was said has been applied.
    pub(crate) fn confirm(&mut self) -> io::Result<()> {
        self.say(&Call::Ping);
        while self.channel.first_unacknowledged().is_some() {
            self.read()?;
        }
        Ok(())
    }

    /// Whether the server closes the connection, after whatever it still says.
    pub(crate) fn is_closed(&mut self) -> bool {
        loop {
            match self.read() {
                Ok(()) => {}
                Err(error) => {
                    return matches!(
                        error.kind(),
                        io::ErrorKind::UnexpectedEof
                            | io::ErrorKind::ConnectionReset
                            | io::ErrorKind::BrokenPipe
                    );
                }
            }
        }
    }
}

pub(crate) fn acquire(request: u64, key: &str, wait: Wait) -> Call {
    let mut options = Options::default();
    options.wait = Some(wait);
    let owner = OwnerId::from_parts(0, 1, 5);
    Call::Acquire(Box::new(Acquire {
        request,
        keys: vec![key.to_owned()],
        options,
        owner,
        within: owner.into_iter().collect(),
        opens_scope: false,
        site: 0,
        waited: Duration::ZERO,
        label: None,
        shared: None,
    }))
}

fn send(stream: &mut dyn Wire, body: &[u8]) -> Result<(), Unopened> {
    let mut bytes = Vec::new();
    put_frame(&mut bytes, |out| out.extend_from_slice(body));
    stream.write_all(&bytes).map_err(Unopened::Cut)
}

fn hear(stream: &mut dyn Wire, reader: &mut FrameReader) -> Result<Vec<u8>, Unopened> {
    loop {
        if let Some(body) = reader.next().unwrap() {
            return Ok(body.to_vec());
        }
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes).map_err(Unopened::Cut)? {
            0 => return Err(Unopened::Cut(io::ErrorKind::UnexpectedEof.into())),
            read => reader.push(&bytes[..read]),
        }
    }
}

/// The frames of a client that begins a session without a secret, and how long the answer to the
/// second is.
pub(crate) fn greetings(line: &Line) -> (Vec<u8>, Vec<u8>, usize) {
    let (mut hello, mut open, mut opened) = (Vec::new(), Vec::new(), Vec::new());
    let handshake = ClientHandshake::new(Secured::default(), [9; 32]);
    put_frame(&mut hello, |out| out.extend(handshake.hello()));
    let greeting = Open { resume: None, party: ProcessInfo::default(), lease: None };
    put_frame(&mut open, |out| greeting.encode(out));
    put_frame(&mut opened, |out| line.opened.encode(out));
    (hello, open, opened.len())
}
