//! The server's side: its certificate, and which certificates it asks for.

use std::fmt;
use std::sync::Arc;

use locks_core::{ErrorKind, LockError};
use rustls::server::{NoClientAuth, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{Error, ServerConfig};

use super::{Authority, Certificate, Tls, provider};
use crate::access::Fingerprint;

/// How a server's connections are begun.
pub(crate) struct ServerTls {
    config: Arc<ServerConfig>,
    fingerprint: Fingerprint,
}

impl ServerTls {
    /// `authority`: whose certificates clients may have; they need none.
    ///
    /// # Errors
    /// `NotConfigured` if these do not fit together.
    pub(crate) fn new(
        certificate: &Certificate,
        authority: Option<&Authority>,
    ) -> Result<Self, LockError> {
        let refused = |why: String| LockError::new(ErrorKind::NotConfigured, "").with_message(why);
        let provider = provider();
        let verifier = match authority {
            None => Arc::new(NoClientAuth),
            Some(Authority(roots)) => {
                WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| refused(format!("the authority of clients: {error}")))?
            }
        };
        let Certificate { chain, key } = certificate;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| refused(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|error| {
                refused(format!("the server's certificate and key do not belong together: {error}"))
            })?;
        // Nothing of a connection is good for another one.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config), fingerprint: certificate.fingerprint() })
    }

    /// That of its certificate.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Begins a connection.
    pub(crate) fn begin(&self) -> Result<Tls, Error> {
        Tls::server(self.config.clone())
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}
