//! The floors: servers that decide nothing, and send back or on what they get.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::address::{Address, Listener, Stream};
use super::client::{Client, Service};

/// What an echo and a relay carry: about what it takes to ask for a lock.
pub(super) type Message = [u8; 64];

/// As much as a client writes at once.
const BUFFER: usize = 64 << 10;

/// Sends back what arrives: a thread for each connection, which is as quick as it gets.
pub(super) fn in_threads(listener: &Listener) -> io::Result<()> {
    loop {
        let mut stream = listener.accept()?;
        thread::spawn(move || back(&mut stream));
    }
}

/// Sends back what arrives: one thread for all, by tokio.
pub(super) fn in_tasks(listener: Listener) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        match listener {
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::UnixListener::from_std(listener)?;
                loop {
                    tokio::spawn(echo(listener.accept().await?.0));
                }
            }
            Listener::Tls(..) => Err(io::ErrorKind::Unsupported.into()),
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                loop {
                    let (stream, _) = listener.accept().await?;
                    stream.set_nodelay(true)?;
                    tokio::spawn(echo(stream));
                }
            }
        }
    })
}

fn back(stream: &mut Stream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}

async fn echo(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length]).await?,
        }
    }
}

/// Sends on what arrives: connections are taken in pairs, and what one writes the other reads.
pub(super) fn relay(listener: &Listener) -> io::Result<()> {
    loop {
        let (one, other) = (listener.accept()?, listener.accept()?);
        let (mut from, mut to) = (one.try_clone()?, other.try_clone()?);
        thread::spawn(move || forward(&mut from, &mut to));
        let (mut from, mut to) = (other, one);
        thread::spawn(move || forward(&mut from, &mut to));
    }
}

fn forward(from: &mut Stream, to: &mut Stream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            length => to.write_all(&buffer[..length])?,
        }
    }
}

/// An echo for each request, in place of a lock.
pub(super) struct Echo(pub(super) Address);

impl Service for Echo {
    fn connect(&self, _: &str) -> io::Result<Box<dyn Client>> {
        Ok(Box::new(Echoed(self.0.connect()?)))
    }
}

struct Echoed(Stream);

impl Echoed {
    fn round_trip(&mut self) -> io::Result<()> {
        let mut message: Message = [7; _];
        self.0.write_all(&message)?;
        self.0.read_exact(&mut message)
    }
}

impl Client for Echoed {
    fn take(&mut self) -> io::Result<()> {
        self.round_trip()
    }

    fn give(&mut self) -> io::Result<()> {
        self.round_trip()
    }

    fn give_and_wait(&mut self) -> io::Result<()> {
        self.round_trip()
    }
}

/// A message that goes to and fro in place of a lock: whoever has it may go on.
pub(super) struct Relay {
    address: Address,
    connected: AtomicU64,
}

impl Relay {
    pub(super) fn new(address: Address) -> Self {
        Self { address, connected: AtomicU64::new(0) }
    }
}

impl Service for Relay {
    /// Every second connection is the other end of the one before, which begins with the message.
    fn connect(&self, _: &str) -> io::Result<Box<dyn Client>> {
        let has_it = self.connected.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        Ok(Box::new(Relayed { stream: self.address.connect()?, has_it }))
    }
}

struct Relayed {
    stream: Stream,
    has_it: bool,
}

impl Client for Relayed {
    fn take(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.has_it) {
            return Ok(());
        }
        let mut message: Message = [0; _];
        self.stream.read_exact(&mut message)
    }

    fn give(&mut self) -> io::Result<()> {
        let message: Message = [7; _];
        self.stream.write_all(&message)
    }

    fn give_and_wait(&mut self) -> io::Result<()> {
        self.give()
    }
}
