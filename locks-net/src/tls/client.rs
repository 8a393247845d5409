//! The client's side: which servers it trusts.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use locks_core::{ErrorKind, LockError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme,
};

use super::{Authority, Certificate, Tls, provider};
use crate::access::Fingerprint;
use crate::secret::{Secret, Secured};

/// By what a client knows its server. Without any of these: by the secret alone, which both sides
/// prove.
#[derive(Debug, Default)]
pub(crate) struct Trusted {
    pub(crate) authority: Option<Authority>,
    pub(crate) pin: Option<Fingerprint>,
    /// The client's own.
    pub(crate) certificate: Option<Certificate>,
}

/// How one client's connections are begun.
pub(crate) struct ClientTls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    secret: Option<Arc<Secret>>,
    is_verified: bool,
    serve: String,
}

impl ClientTls {
    /// # Errors
    /// `NotConfigured`: nobody would prove anything, or what is there does not fit.
    pub(crate) fn new(
        host: &str,
        secret: Option<Secret>,
        trusted: Trusted,
    ) -> Result<Self, LockError> {
        let refused = |why: String| LockError::new(ErrorKind::NotConfigured, "").with_message(why);
        let Trusted { authority, pin, certificate } = trusted;
        let is_verified = authority.is_some() || pin.is_some();
        if secret.is_none() && certificate.is_none() {
            let why = "the server has to know who comes: name the secret that it has by `secret_file` or \
                       `LOCKS_SECRET`, or a certificate of this client's by `cert` and `key`";
            return Err(refused(why.into()));
        }
        if secret.is_none() && !is_verified {
            let why = "without a secret nobody shows that this is the right server: name the authority that has \
                       signed its certificate by `ca`, or the certificate's fingerprint by `pin`";
            return Err(refused(why.into()));
        }
        let serve = serve_options(secret.as_ref(), authority.is_some(), certificate.is_some());
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| refused(format!("`{host}` is no name of a host")))?;
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let authority = authority.map(|Authority(roots)| {
            WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build()
        });
        let authority = authority.transpose().map_err(|error| refused(format!("`ca`: {error}")))?;
        let verifier = Arc::new(Verifier { authority, pin, algorithms });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| refused(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(Certificate { chain, key }) => {
                builder.with_client_auth_cert(chain, key.clone_key()).map_err(|error| {
                    refused(format!("`cert` and `key` do not belong together: {error}"))
                })?
            }
        };
        config.resumption = Resumption::disabled();
        let secret = secret.map(Arc::new);
        Ok(Self { config: Arc::new(config), name, secret, is_verified, serve })
    }

    /// Returns the options with which `locks serve` lets this client in and is trusted by it, each
    /// after a space.
    pub(crate) fn serve_options(&self) -> &str {
        &self.serve
    }

    /// Begins a connection.
    pub(crate) fn begin(&self) -> Result<Tls, Error> {
        Tls::client(self.config.clone(), self.name.clone())
    }

    /// What is known of one that is there.
    pub(crate) fn secured(&self, tls: &Tls) -> Secured {
        let certificate = tls.peer().unwrap_or_default();
        Secured { secret: self.secret.clone(), certificate, is_verified: self.is_verified }
    }
}

/// A server on this machine may take the very file of the client's secret.
fn serve_options(secret: Option<&Secret>, by_authority: bool, shows_certificate: bool) -> String {
    let mut options = String::new();
    if let Some(secret) = secret {
        let file = secret.file().unwrap_or(Path::new("FILE"));
        options = format!(" --secret-file {}", file.display());
    }
    if by_authority {
        options += " --cert FILE --key FILE";
    }
    if shows_certificate {
        options += " --client-ca FILE";
    }
    options
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Checks a server's certificate by what there is. With neither, it may be any: it is what the
/// proofs are bound to.
#[derive(Debug)]
struct Verifier {
    authority: Option<Arc<WebPkiServerVerifier>>,
    pin: Option<Fingerprint>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The server has another certificate than the one that was named.
#[derive(Debug)]
pub(super) struct OtherPin {
    pub(super) seen: Fingerprint,
    pub(super) pin: Fingerprint,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen = Fingerprint::of(leaf);
        if let Some(pin) = self.pin.filter(|pin| *pin != seen) {
            let error = OtherError(Arc::new(OtherPin { seen, pin }));
            return Err(CertificateError::Other(error).into());
        }
        match &self.authority {
            Some(authority) => authority.verify_server_cert(leaf, chain, name, ocsp, now),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Display for OtherPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the server's certificate has the fingerprint {}, and `pin` says {}: if it was replaced, see at the server \
             that this is its fingerprint, and pin that; otherwise somebody stands in between",
            self.seen, self.pin
        )
    }
}

impl std::error::Error for OtherPin {}
