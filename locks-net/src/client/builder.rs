//! The builder of a backend at a server.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use locks_core::{BackendInfo, Capabilities, ErrorKind, Exclusion, LockError, TokenScope};

use super::Dial;
use super::backend::NetBackend;
use super::dial::AtPath;
use super::generation::Generation;
use super::handle::BackendHandle;
#[cfg(feature = "tcp")]
use super::port::AtPort;
#[cfg(feature = "tcp")]
use crate::secret::Secret;
use crate::serving::MachineDial;
#[cfg(feature = "tcp")]
use crate::tls::{Authority, Certificate, Trusted};

/// A builder of a [`NetBackend`].
///
/// ```no_run
/// use std::time::Duration;
/// use locks::net::NetBackend;
///
/// let backend = NetBackend::unix("/run/app/locks.sock")
///     .label("billing")
///     .connect(Duration::from_millis(500))
///     .lease(Duration::from_secs(30))
///     .build()?
///     .into_backend();
/// # Ok::<(), locks::LockError>(())
/// ```
#[must_use = "a builder makes no backend until `build`"]
pub struct NetBuilder {
    server: Where,
    lease: Option<Duration>,
    connect: Duration,
    label: Option<String>,
    process: Option<String>,
    allowed: Option<u32>,
    serve: Option<bool>,
    /// Something of TLS was asked for, over a Unix socket.
    in_vain: bool,
}

pub(super) enum Where {
    Path(PathBuf),
    #[cfg(feature = "tcp")]
    Port(String, Option<Secret>, Trusted),
    Machine(MachineDial),
}

impl NetBuilder {
    pub(super) fn new(server: Where) -> Self {
        let connect = Duration::from_secs(2);
        Self {
            server,
            lease: None,
            connect,
            label: None,
            process: None,
            allowed: None,
            serve: None,
            in_vain: false,
        }
    }

    /// Sets the lease of requests that set none ([C8](locks_core::contract#c8-loss)): the time for
    /// which the server keeps locks for a process that has gone silent, or, on a Unix socket, has
    /// lost its connection. The server's default unless set.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Sets the timeout for reaching the server and for answers that need no waiting
    /// ([C2](locks_core::contract#c2-waiting)). Two seconds by default.
    pub fn connect(mut self, connect: Duration) -> Self {
        self.connect = connect;
        self
    }

    /// Sets the label of this process in the errors and lists of others
    /// ([C12](locks_core::contract#c12-holder-information)).
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Sets the name of this process in the errors and lists of others
    /// ([C12](locks_core::contract#c12-holder-information)), in place of its program's name: for
    /// one that holds locks for another program.
    pub fn process(mut self, name: impl Into<String>) -> Self {
        self.process = Some(name.into());
        self
    }

    /// Trusts the server at a Unix socket also if user `uid` runs it; by default only if the same
    /// user or root does ([N5](locks_core::contract#n5-secrets)).
    pub fn allow_user(mut self, uid: u32) -> Self {
        self.allowed = Some(uid);
        self
    }

    /// Trusts only a server with a valid certificate that one of these authorities has signed for
    /// its host name.
    #[cfg(feature = "tcp")]
    pub fn authority(self, authority: Authority) -> Self {
        self.trusting(|trusted| trusted.authority = Some(authority))
    }

    /// Trusts only the server whose certificate has this fingerprint, as the server's log says it.
    #[cfg(feature = "tcp")]
    pub fn pin(self, fingerprint: crate::Fingerprint) -> Self {
        self.trusting(|trusted| trusted.pin = Some(fingerprint))
    }

    /// Shows this certificate to the server, which may let this client in for it without a secret.
    #[cfg(feature = "tcp")]
    pub fn certificate(self, certificate: Certificate) -> Self {
        self.trusting(|trusted| trusted.certificate = Some(certificate))
    }

    #[cfg(feature = "tcp")]
    fn trusting(mut self, change: impl FnOnce(&mut Trusted)) -> Self {
        match &mut self.server {
            Where::Port(.., trusted) => change(trusted),
            Where::Path(_) | Where::Machine(_) => self.in_vain = true,
        }
        self
    }

    /// Permits or forbids this process to serve when no other does, for [`NetBackend::machine`].
    /// `true` by default.
    pub fn serve(mut self, serve: bool) -> Self {
        self.serve = Some(serve);
        self
    }

    /// Builds the backend, which does not connect yet.
    ///
    /// # Errors
    /// `NotConfigured` if the address is invalid, if an option does not apply to it, or if one side
    /// would have no proof of the other.
    pub fn build(self) -> Result<NetBackend, LockError> {
        if self.in_vain {
            let why = "`authority`, `pin` and `certificate` are about servers at TCP ports: leave them out";
            return Err(LockError::new(ErrorKind::NotConfigured, "").with_message(why));
        }
        if self.allowed.is_some() && !matches!(self.server, Where::Path(_)) {
            let why = "`allow_user` is about servers at Unix sockets: leave it out";
            return Err(LockError::new(ErrorKind::NotConfigured, "").with_message(why));
        }
        if self.serve.is_some() && !matches!(self.server, Where::Machine(_)) {
            let why = "`serve` is about servers that processes run for each other: leave it out";
            return Err(LockError::new(ErrorKind::NotConfigured, "").with_message(why));
        }
        let (dial, exclusion): (Arc<dyn Dial>, _) = match self.server {
            Where::Path(path) => (Arc::new(AtPath::new(path, self.allowed)), Exclusion::Arbiter),
            #[cfg(feature = "tcp")]
            Where::Port(address, secret, trusted) => {
                (Arc::new(AtPort::new(&address, secret, trusted)?), Exclusion::Lease)
            }
            Where::Machine(machine) => {
                let serves = self.serve.unwrap_or(true);
                (Arc::new(machine.serve(serves)), Exclusion::Arbiter)
            }
        };
        Ok(NetBackend::new(BackendHandle {
            about: BackendInfo::new(dial.name(), capabilities(exclusion)),
            dial,
            lease: self.lease,
            connect: self.connect,
            label: self.label,
            process: self.process,
            generation: Generation::new(),
        }))
    }
}

impl fmt::Debug for NetBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetBuilder")
            .field("lease", &self.lease)
            .field("connect", &self.connect)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

fn capabilities(exclusion: Exclusion) -> Capabilities {
    let mut can = Capabilities::process();
    (can.exclusion, can.tokens) = (exclusion, TokenScope::Directory);
    can
}
