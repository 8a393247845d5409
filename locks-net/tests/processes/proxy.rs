//! Something between a client and the server that delays, silences and cuts what goes through it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use crate::directory::Directory;
use crate::place::{Place, Told, Way};

/// In which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Towards {
    Server,
    Client,
}

pub(crate) const BOTH: [Towards; 2] = [Towards::Server, Towards::Client];

/// Listens where clients are told to go, and goes where they would have gone, until it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    told: Told,
    _directory: Directory,
}

#[derive(Debug)]
struct Shared {
    upstream: Told,
    rules: Mutex<Rules>,
    changed: Condvar,
}

/// What happens to what goes through.
#[derive(Debug, Default)]
struct Rules {
    over: bool,
    /// Connections are taken no more.
    closed: bool,
    /// After so many bytes in that direction the connection ends; the next one is left alone.
    /// After so many bytes of all connections since then together.
    cut: Option<(Towards, u64)>,
    since: u32,
    was_cut: bool,
    for_good: bool,
    /// What comes from there stays where it is.
    silent: [bool; 2],
    delay: Duration,
    /// All that has gone through.
    passed: [Vec<u8>; 2],
    /// Sockets of the connections that there are, by the number of each.
    open: Vec<(usize, Stream)>,
    connections: usize,
}

#[derive(Debug)]
pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Proxy {
    /// Before the server of `place`, which listens already.
    pub(crate) fn new(place: &Place) -> Self {
        let (upstream, directory) = (place.told(), Directory::new());
        let socket: PathBuf = directory.path().join("proxy");
        let (listener, address) = match upstream.way {
            Way::Tcp | Way::Certified => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap().to_string();
                (Listener::Tcp(listener), address)
            }
            Way::Unix | Way::Machine => {
                (Listener::Unix(UnixListener::bind(&socket).unwrap()), String::new())
            }
        };
        let told = place.told_by(upstream.way, &socket, &address);
        let (rules, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { upstream, rules, changed });
        let theirs = shared.clone();
        thread::spawn(move || theirs.listen(&listener));
        Self { shared, told, _directory: directory }
    }

    /// What a client that is to go through it has to know.
    pub(crate) fn told(&self) -> &Told {
        &self.told
    }

    /// The next connection ends after so many bytes; or one that takes its place, if there are
    /// fewer.
    pub(crate) fn cut_after(&self, towards: Towards, bytes: u64) {
        let mut rules = self.shared.rules.lock().unwrap();
        (rules.cut, rules.was_cut) = (Some((towards, bytes)), false);
        rules.since += 1;
    }

    /// The next connection ends after so many bytes, and there are no others behind it.
    pub(crate) fn cut_for_good_after(&self, towards: Towards, bytes: u64) {
        self.cut_after(towards, bytes);
        self.shared.rules.lock().unwrap().for_good = true;
    }

    /// Whether one was cut since then.
    pub(crate) fn has_cut(&self) -> bool {
        self.shared.rules.lock().unwrap().was_cut
    }

    /// Nothing arrives any more, until [`pass`](Self::pass).
    pub(crate) fn silence(&self, towards: &[Towards]) {
        let mut rules = self.shared.rules.lock().unwrap();
        towards.iter().for_each(|it| rules.silent[*it as usize] = true);
    }

    /// Everything goes through again, also what was kept.
    pub(crate) fn pass(&self) {
        self.shared.rules.lock().unwrap().silent = [false; 2];
        self.shared.changed.notify_all();
    }

    /// What comes is passed on so much later.
    pub(crate) fn delay(&self, by: Duration) {
        self.shared.rules.lock().unwrap().delay = by;
    }

    /// Takes no more connections: they end at once.
    pub(crate) fn close(&self) {
        self.shared.rules.lock().unwrap().closed = true;
    }

    /// Ends the connections that there are.
    pub(crate) fn cut_all(&self) {
        let mut rules = self.shared.rules.lock().unwrap();
        rules.open.drain(..).for_each(|(_, stream)| stream.shut());
    }

    /// All that has gone through in that direction.
    pub(crate) fn passed(&self, towards: Towards) -> Vec<u8> {
        self.shared.rules.lock().unwrap().passed[towards as usize].clone()
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.shared.rules.lock().unwrap().connections
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        {
            let mut rules = self.shared.rules.lock().unwrap();
            rules.over = true;
            rules.open.drain(..).for_each(|(_, stream)| stream.shut());
        }
        self.shared.changed.notify_all();
        // Wakes who listens.
        let _ = connect(&self.told);
    }
}

impl Shared {
    fn listen(self: Arc<Self>, listener: &Listener) {
        loop {
            let client = listener.accept().unwrap();
            let mut rules = self.rules.lock().unwrap();
            if rules.over {
                return;
            }
            rules.connections += 1;
            if rules.closed {
                continue;
            }
            let since = rules.since;
            // Nobody may be there at the moment.
            let Ok(server) = connect(&self.upstream) else { continue };
            let number = rules.connections;
            rules.open.extend([(number, client.clone()), (number, server.clone())]);
            drop(rules);
            for towards in BOTH {
                let (from, to) = match towards {
                    Towards::Server => (client.clone(), server.clone()),
                    Towards::Client => (server.clone(), client.clone()),
                };
                let shared = self.clone();
                thread::spawn(move || {
                    // Ended by either side.
                    let _ = shared.pump(towards, &from, &to, since);
                    from.shut();
                    to.shut();
                    shared.rules.lock().unwrap().open.retain(|(of, _)| *of != number);
                });
            }
        }
    }

    /// Passes on what comes, and ends where that is to be cut.
    fn pump(
        &self,
        towards: Towards,
        mut from: &Stream,
        mut to: &Stream,
        since: u32,
    ) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            if self.is_cut(towards, since) {
                return Ok(());
            }
            let read = from.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            let delay = {
                let mut rules = self.rules.lock().unwrap();
                while rules.silent[towards as usize] && !rules.over {
                    rules = self.changed.wait(rules).unwrap();
                }
                rules.delay
            };
            if !delay.is_zero() {
                thread::sleep(delay);
            }
            let passes = self.passes(towards, since, read);
            self.rules.lock().unwrap().passed[towards as usize].extend(&buffer[..passes]);
            to.write_all(&buffer[..passes])?;
        }
    }
}

impl Shared {
    /// How many of these bytes pass before the cut.
    fn passes(&self, towards: Towards, since: u32, read: usize) -> usize {
        let mut rules = self.rules.lock().unwrap();
        let applies = rules.since == since;
        match &mut rules.cut {
            Some((direction, left)) if applies && *direction == towards => {
                let passes = read.min(usize::try_from(*left).unwrap());
                *left -= passes as u64;
                passes
            }
            _ => read,
        }
    }

    /// Whether a connection ends here.
    fn is_cut(&self, towards: Towards, since: u32) -> bool {
        let mut rules = self.rules.lock().unwrap();
        let is_cut = rules.since == since && rules.cut == Some((towards, 0));
        if is_cut {
            rules.cut = None;
            (rules.was_cut, rules.closed) = (true, rules.closed || rules.for_good);
            if rules.for_good {
                // Also those that were made beside it because it was silent.
                rules.open.drain(..).for_each(|(_, stream)| stream.shut());
            }
        }
        is_cut
    }
}

/// To where these are told to go.
pub(crate) fn connect(told: &Told) -> io::Result<Stream> {
    Ok(match told.way {
        Way::Tcp | Way::Certified => {
            let stream = TcpStream::connect(&told.address)?;
            stream.set_nodelay(true)?;
            Stream::Tcp(stream)
        }
        Way::Unix | Way::Machine => Stream::Unix(UnixStream::connect(&told.socket)?),
    })
}

impl Listener {
    fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(listener) => Ok(Stream::Unix(listener.accept()?.0)),
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
        }
    }
}

impl Stream {
    fn shut(&self) {
        // The other side may have been first.
        let _ = match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
    }

    pub(crate) fn set_patience(&self, patience: Duration) {
        match self {
            Self::Unix(stream) => stream.set_read_timeout(Some(patience)),
            Self::Tcp(stream) => stream.set_read_timeout(Some(patience)),
        }
        .unwrap();
    }
}

impl Clone for Stream {
    fn clone(&self) -> Self {
        match self {
            Self::Unix(stream) => Self::Unix(stream.try_clone().unwrap()),
            Self::Tcp(stream) => Self::Tcp(stream.try_clone().unwrap()),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => (&mut &*stream).read(buffer),
            Stream::Tcp(stream) => (&mut &*stream).read(buffer),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => (&mut &*stream).write(bytes),
            Stream::Tcp(stream) => (&mut &*stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
