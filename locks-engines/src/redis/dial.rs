//! Streams to servers, plain or by TLS, and the protocol that is spoken on them.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use locks_core::{ErrorKind, LockError};
use redis::aio::{AsyncStream, MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, RedisConnectionInfo, RedisResult};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio_rustls::TlsConnector;

use super::fault::{RedisFault, Remedy};
use crate::link::SILENCE;

type Stream = Pin<Box<dyn AsyncStream + Send + Sync>>;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

/// How servers of one kind are spoken to.
pub(super) struct Dialer {
    pub(super) tls: Option<TlsConnector>,
    /// User, password and database.
    pub(super) settings: RedisConnectionInfo,
    /// How long it may take to reach a server.
    pub(super) reach: Duration,
    /// What helps where they refuse the user.
    pub(super) remedy: Remedy,
    /// A server refused the third version of the protocol.
    pub(super) old: AtomicBool,
}

impl Address {
    /// The one in `host:port`, as servers name others; without a host it is the one of `from`.
    pub(super) fn parse(text: &str, from: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = if host.is_empty() { from.host.clone() } else { host.to_owned() };
        Some(Self { host, port: port.parse().ok()? })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Dialer {
    /// Connects for commands, whose pushes go to `pushes`; without it, none come. Returns whether
    /// they do.
    ///
    /// # Errors
    /// Those of [`RedisFault`], with what helps where the server does not speak as it was spoken
    /// to.
    pub(super) async fn commands(
        &self,
        name: &str,
        at: &Address,
        pushes: Option<UnboundedSender<PushInfo>>,
    ) -> Result<(MultiplexedConnection, bool), LockError> {
        if let Some(pushes) = pushes.filter(|_| !self.old.load(Ordering::Relaxed)) {
            let settings = self.settings.clone().set_protocol(ProtocolVersion::RESP3);
            let config = AsyncConnectionConfig::new().set_push_sender(pushes);
            match self.speak(name, at, &settings, config).await? {
                Ok(connection) => return Ok((connection, true)),
                Err(error) if self.lacks_hello(&error) => self.old.store(true, Ordering::Relaxed),
                Err(error) => return Err(self.unspoken(name, at, error)),
            }
        }
        let settings = self.settings.clone().set_protocol(ProtocolVersion::RESP2);
        match self.speak(name, at, &settings, AsyncConnectionConfig::new()).await? {
            Ok(connection) => Ok((connection, false)),
            Err(error) => Err(self.unspoken(name, at, error)),
        }
    }

    /// Whether the server has not heard of the third version of the protocol.
    fn lacks_hello(&self, error: &redis::RedisError) -> bool {
        let says = |text: &str| error.detail().is_some_and(|detail| detail.contains(text));
        error.kind() == redis::ErrorKind::RESP3NotSupported
            || error.code() == Some("NOPROTO")
            || says("unknown command")
            || says("unknown or disabled command")
            // Valkey says so of every command that it does not know, to whom has not said the
            // password yet.
            || error.code() == Some("NOAUTH") && self.settings.password().is_some()
    }

    async fn speak(
        &self,
        name: &str,
        at: &Address,
        settings: &RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> Result<RedisResult<MultiplexedConnection>, LockError> {
        let config = config.set_response_timeout(Some(SILENCE));
        let speaking = async {
            let stream = self.open(name, at).await?;
            let made = MultiplexedConnection::new_with_config(settings, stream, config).await;
            Ok(made.map(|(connection, reading)| {
                tokio::spawn(reading);
                connection
            }))
        };
        let spoken = tokio::time::timeout(self.reach, speaking).await;
        spoken.unwrap_or_else(|_| Err(self.late(name, at)))
    }

    /// Connects for what is published, and nothing else, by the second version of the protocol.
    ///
    /// # Errors
    /// Those of [`commands`](Self::commands).
    pub(super) async fn subscriber(
        &self,
        name: &str,
        at: &Address,
        channel: &str,
    ) -> Result<PubSub, LockError> {
        let settings = self.settings.clone().set_protocol(ProtocolVersion::RESP2);
        let speaking = async {
            let stream = self.open(name, at).await?;
            let unspoken = |error| self.unspoken(name, at, error);
            let mut subscriber = PubSub::new(&settings, stream).await.map_err(unspoken)?;
            subscriber.subscribe(channel).await.map_err(unspoken)?;
            Ok(subscriber)
        };
        let spoken = tokio::time::timeout(self.reach, speaking).await;
        spoken.unwrap_or_else(|_| Err(self.late(name, at)))
    }

    async fn open(&self, name: &str, at: &Address) -> Result<Stream, LockError> {
        let unavailable = |error: io::Error| LockError::unavailable(name, format!("{at}: {error}"));
        let tcp = TcpStream::connect((at.host.as_str(), at.port)).await.map_err(unavailable)?;
        tcp.set_nodelay(true).map_err(unavailable)?;
        let Some(tls) = &self.tls else { return Ok(Box::pin(tcp)) };
        let host = ServerName::try_from(at.host.clone()).map_err(|_| {
            let why = format!("`{}` is no name that a certificate could be for", at.host);
            LockError::new(ErrorKind::NotConfigured, "").with_backend(name).with_message(why)
        })?;
        // A server that does not speak it may wait for more of what it takes for a command.
        match tokio::time::timeout(self.reach * 3 / 4, tls.connect(host, tcp)).await {
            Ok(Ok(stream)) => Ok(Box::pin(stream)),
            Ok(Err(error)) => Err(handshake(name, at, error)),
            Err(_) => {
                let why = format!(
                    "{at} does not answer by TLS within {:?}: if it does not speak it there, write \
                     `redis://`",
                    self.reach * 3 / 4
                );
                Err(LockError::unavailable(name, why))
            }
        }
    }

    fn late(&self, name: &str, at: &Address) -> LockError {
        LockError::unavailable(name, format!("{at} does not answer within {:?}", self.reach))
    }

    /// Why a connection that was opened does not serve.
    pub(super) fn unspoken(&self, name: &str, at: &Address, error: redis::RedisError) -> LockError {
        let has_ended = error.is_connection_dropped() || error.is_io_error();
        if let Some(error) = certificate_wanted(name, at, &error.to_string()) {
            return error;
        }
        if has_ended && self.tls.is_none() {
            let why = format!(
                "{at} ended the connection at once ({error}): if it speaks TLS there, write `rediss://`"
            );
            return LockError::unavailable(name, why);
        }
        RedisFault::on_connecting(name, error, self.remedy)
    }
}

/// Why encryption did not come about.
fn handshake(name: &str, at: &Address, error: io::Error) -> LockError {
    let refused = |why: String| {
        LockError::new(ErrorKind::NotConfigured, "").with_backend(name).with_message(why)
    };
    let found = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match found {
        Some(rustls::Error::InvalidMessage(_)) => refused(format!(
            "{at} does not speak TLS: write `redis://`, or name the port at which it does (`tls-port`)"
        )),
        Some(rustls::Error::InvalidCertificate(why)) => refused(format!(
            "{at} has a certificate that is not trusted ({why}): name the file of its authority by \
             `?ca=`, and the host as the certificate does"
        )),
        Some(other) => certificate_wanted(name, at, &other.to_string())
            .unwrap_or_else(|| LockError::unavailable(name, format!("TLS with {at}: {other}"))),
        None => {
            let why = format!(
                "{at} ended the connection instead of speaking TLS ({error}): if it does not speak it \
                 there, write `redis://`"
            );
            LockError::unavailable(name, why)
        }
    }
}

/// The error of a server that wants to see a certificate of ours, if this is what it says.
fn certificate_wanted(name: &str, at: &Address, said: &str) -> Option<LockError> {
    let says = |what: &str| said.contains(what);
    let why = match () {
        () if says("CertificateRequired") => format!(
            "{at} wants a certificate of its clients: name yours by `?cert=` and its key by `&key=`"
        ),
        () if says("received fatal alert") && (says("UnknownCA") || says("BadCertificate")) => {
            format!(
                "{at} does not trust the certificate of this client: name one by `?cert=` that its \
                 `tls-ca-cert-file` vouches for"
            )
        }
        () => return None,
    };
    Some(LockError::new(ErrorKind::NotConfigured, "").with_backend(name).with_message(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_name_others_by_host_and_port() {
        let from = Address { host: "10.0.0.1".into(), port: 7000 };
        for (text, shown) in [
            ("10.0.0.2:7001", Some("10.0.0.2:7001")),
            ("::1:7001", Some("[::1]:7001")),
            ("[::1]:7001", Some("[::1]:7001")),
            (":7001", Some("10.0.0.1:7001")),
            ("db", None),
            ("db:x", None),
        ] {
            let found = Address::parse(text, &from).map(|address| address.to_string());
            assert_eq!(found.as_deref(), shown, "{text}");
        }
    }
}
