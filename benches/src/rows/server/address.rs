//! Where a server listens, and how one gets there.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

use super::tls::{Identity, Secure};

/// How long an answer may take before somebody must have died.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Unix,
    Tcp,
}

impl Transport {
    pub(super) const ALL: [Self; 2] = [Self::Unix, Self::Tcp];

    /// A place to listen at: below `directory`, or on a free port of the loopback interface.
    pub(super) fn free(self, directory: &Path, name: &str) -> io::Result<Address> {
        Ok(match self {
            Self::Unix => Address::Unix(directory.join(name)),
            Self::Tcp => Address::Tcp(TcpListener::bind("127.0.0.1:0")?.local_addr()?),
        })
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unix => "a Unix socket",
            Self::Tcp => "TCP on loopback (ours by TLS)",
        })
    }
}

/// Where a server listens; as text, `unix:/path` or `tcp:127.0.0.1:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
    /// TCP, with TLS.
    Tls(SocketAddr),
}

impl Address {
    /// The host and port, or the path, as URLs of others have it.
    pub(super) fn in_url(&self) -> String {
        match self {
            Self::Unix(path) => path.display().to_string(),
            Self::Tcp(address) | Self::Tls(address) => address.to_string(),
        }
    }

    /// The same by TLS, if it is by TCP.
    pub(super) fn secured(self) -> Self {
        match self {
            Self::Tcp(address) => Self::Tls(address),
            other => other,
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("unix", path) => Some(Self::Unix(path.into())),
            ("tcp", address) => Some(Self::Tcp(address.parse().ok()?)),
            ("tls", address) => Some(Self::Tls(address.parse().ok()?)),
            _ => None,
        }
    }

    pub(super) fn listen(&self) -> io::Result<Listener> {
        Ok(match self {
            Self::Unix(path) => Listener::Unix(UnixListener::bind(path)?),
            Self::Tcp(address) => Listener::Tcp(TcpListener::bind(address)?),
            Self::Tls(address) => {
                Listener::Tls(TcpListener::bind(address)?, Identity::new()?.server()?)
            }
        })
    }

    pub(super) fn connect(&self) -> io::Result<Stream> {
        let stream = match self {
            Self::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
            Self::Tcp(address) | Self::Tls(address) => Stream::tcp(TcpStream::connect(address)?)?,
        };
        match &stream {
            Stream::Unix(stream) => stream.set_read_timeout(Some(PATIENCE))?,
            Stream::Tcp(stream) => stream.set_read_timeout(Some(PATIENCE))?,
            Stream::Tls(_) => {}
        }
        match (self, stream) {
            (Self::Tls(_), Stream::Tcp(stream)) => {
                Ok(Stream::Tls(Box::new(Secure::client(stream)?)))
            }
            (_, stream) => Ok(stream),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Tls(address) => write!(f, "tls:{address}"),
        }
    }
}

pub(super) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
    Tls(TcpListener, Arc<ServerConfig>),
}

impl Listener {
    pub(super) fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(listener) => Ok(Stream::Unix(listener.accept()?.0)),
            Self::Tcp(listener) => Stream::tcp(listener.accept()?.0),
            Self::Tls(listener, config) => match Stream::tcp(listener.accept()?.0)? {
                Stream::Tcp(stream) => Ok(Stream::Tls(Box::new(Secure::server(stream, config)?))),
                other => Ok(other),
            },
        }
    }
}

/// A connection, blocking.
#[derive(Debug)]
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<Secure>),
}

impl Stream {
    /// Nobody here waits for more to send.
    fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
            Self::Tls(_) => return Err(io::ErrorKind::Unsupported.into()),
        })
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
            Self::Tls(stream) => match &mut **stream {
                Secure::Client(stream) => stream.read(buffer),
                Secure::Server(stream) => stream.read(buffer),
            },
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
            Self::Tls(stream) => match &mut **stream {
                Secure::Client(stream) => stream.write(bytes),
                Secure::Server(stream) => stream.write(bytes),
            },
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_what_its_text_says() {
        for text in ["unix:/tmp/a b", "tcp:127.0.0.1:7000", "tls:127.0.0.1:7000"] {
            assert_eq!(Address::parse(text).expect("it is one").to_string(), text);
        }
        assert_eq!(Address::parse("udp:127.0.0.1:7000"), None);
        assert_eq!(Address::parse("tcp:here"), None);
    }
}
