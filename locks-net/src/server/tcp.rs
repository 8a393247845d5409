//! A server's TCP ports.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use locks_core::{ErrorKind, LockError};

use super::Server;
use super::builder::{ServerBuilder, unfit};
use super::log::{Log, LogLevel};
use super::ready_queue::Admission;
use super::task::Listening;
use crate::access::Clients;
use crate::tls::{Authority, Certificate, ServerTls};

/// Where a server listens on TCP, and who comes in there.
#[derive(Debug, Default)]
pub(super) struct OnTcp {
    addresses: Vec<SocketAddr>,
    pub(super) clients: Clients,
    certificate: Option<Certificate>,
    client_authority: Option<Authority>,
}

impl ServerBuilder {
    /// Listens on TCP, by TLS, for the clients that [`clients`](Self::clients) lets in, whose
    /// sessions last as long as they renew their leases. With port 0 the system chooses one.
    ///
    /// Without a [certificate](Self::certificate) it makes one at its first start and keeps it in
    /// its [directory](Self::state). That one needs no signature: the proofs of both sides are
    /// bound to it.
    #[must_use]
    pub fn tcp(mut self, address: SocketAddr) -> Self {
        self.tcp.addresses.push(address);
        self
    }

    /// Sets the clients that are let in over TCP: those of a list, or all that know a
    /// [`Secret`](crate::Secret).
    ///
    /// ```no_run
    /// use locks::net::{Secret, Server};
    ///
    /// let secret = Secret::read("/etc/locks/secret")?;
    /// let server = Server::builder().state("/var/lib/locks").tcp(([0, 0, 0, 0], 7420).into()).clients(secret).start()?;
    /// # Ok::<(), locks::LockError>(())
    /// ```
    #[must_use]
    pub fn clients(mut self, clients: impl Into<Clients>) -> Self {
        self.tcp.clients = clients.into();
        self
    }

    /// Sets the certificate of the server over TCP, in place of a self-made one.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.tcp.certificate = Some(certificate);
        self
    }

    /// Asks clients over TCP for certificates that these authorities have signed, and lets the ones
    /// whose certificates [`clients`](Self::clients) has in without a secret. A client need not
    /// have a certificate.
    #[must_use]
    pub fn client_authority(mut self, authority: Authority) -> Self {
        self.tcp.client_authority = Some(authority);
        self
    }
}

impl Server {
    /// Replaces the clients that are let in over TCP and the certificate of the server; without one
    /// it uses its self-made one.
    ///
    /// Connections stay open if the secret that their client has proved is still valid; all others
    /// are closed, also those of clients with certificates, which connect anew. Sessions of clients
    /// that are no longer on the list end at once, and their holds are lost with
    /// [`LostCause::SessionEnded`](locks_core::LostCause::SessionEnded); until a client notices, it
    /// may run beside the next holder.
    ///
    /// ```no_run
    /// use locks::net::{Secret, Server};
    ///
    /// fn reload(server: &Server) -> Result<(), locks::LockError> {
    ///     server.readmit(Secret::read("/etc/locks/secret")?, None, None)
    /// }
    /// ```
    ///
    /// # Errors
    /// `NotConfigured` if no client could be let in, if the certificate and its key do not fit, or
    /// if the server is not on TCP.
    pub fn readmit(
        &self,
        clients: impl Into<Clients>,
        certificate: Option<Certificate>,
        client_authority: Option<Authority>,
    ) -> Result<(), LockError> {
        let Some(state) = &self.state else {
            return Err(unfit("the server is not on TCP: there is nobody to be let in"));
        };
        let addresses = vec![SocketAddr::from(([0, 0, 0, 0], 0))];
        let clients = clients.into();
        let on_tcp = OnTcp { addresses, clients, certificate, client_authority };
        on_tcp.check()?;
        let tls = Arc::new(on_tcp.tls(state)?);
        self.shared.ready_queue.admit(Admission { clients: on_tcp.clients, tls });
        Ok(())
    }
}

impl OnTcp {
    pub(super) fn is_wanted(&self) -> bool {
        !self.addresses.is_empty()
    }

    pub(super) fn check(&self) -> Result<(), LockError> {
        if self.is_wanted() && self.clients.is_empty() {
            let why = "the server would let nobody in over TCP: name those who may by `clients`, as by a secret";
            return Err(unfit(why));
        }
        if !self.is_wanted() && !self.is_untouched() {
            return Err(unfit(
                "clients and certificates are for TCP, and no address is on it: name one by `tcp`",
            ));
        }
        Ok(())
    }

    fn is_untouched(&self) -> bool {
        self.clients.is_empty() && self.certificate.is_none() && self.client_authority.is_none()
    }

    /// URLs and sockets.
    pub(super) fn listen(
        &self,
        state: &Path,
        log: &Log,
    ) -> Result<Vec<(String, Listening)>, LockError> {
        if !self.is_wanted() {
            return Ok(Vec::new());
        }
        let tls = Arc::new(self.tls(state)?);
        let shown = format!("the fingerprint of the certificate is {}", tls.fingerprint());
        log.say(LogLevel::Info, "tls", &shown);
        let sockets = self.addresses.iter().map(|address| {
            let listener = listen(*address)?;
            let address = listener.local_addr().unwrap_or(*address);
            Ok((format!("locks://{address}"), Listening::Tcp(listener, tls.clone())))
        });
        sockets.collect()
    }

    fn tls(&self, state: &Path) -> Result<ServerTls, LockError> {
        let certificate = match &self.certificate {
            Some(certificate) => certificate.clone(),
            None => Certificate::of_server(state)?,
        };
        ServerTls::new(&certificate, self.client_authority.as_ref())
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, LockError> {
    let listener = TcpListener::bind(address).and_then(|listener| {
        // The standard library's are 128, and one too many is tried again after a second.
        rustix::net::listen(&listener, 1024)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|error| {
        let mend = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "; somebody listens there already: name another port, or end it"
            }
            io::ErrorKind::PermissionDenied => "; name a port from 1024 on",
            _ => "",
        };
        LockError::new(ErrorKind::Io, "")
            .with_backend(format!("locks://{address}"))
            .with_message(format!("cannot listen at `{address}`: {error}{mend}"))
            .with_source(error)
    })
}
