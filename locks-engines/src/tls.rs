//! What a client of a server expects of its TLS.

use std::path::Path;
use std::sync::Arc;

use locks_core::secret_file;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WantsClientCert, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// The settings of a client that checks the server's certificate by the authorities in `authority`,
/// or by the system's; or, without `verify`, by those in `authority` alone, for whatever name, or
/// not at all. `identity`: its own certificate and key.
///
/// # Errors
/// What is wrong with a file, in words.
pub(crate) fn client(
    verify: bool,
    authority: Option<&Path>,
    identity: Option<(&Path, &Path)>,
) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if verify {
        builder.with_root_certificates(roots(authority)?)
    } else {
        let by = authority.map(|authority| roots(Some(authority))).transpose()?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyName { by, provider }))
    };
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(of) => with_identity(builder, of)?,
    };
    // What it remembers of sessions is behind a mutex, which a forked child may find locked; and a
    // client has one connection, which stays.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn with_identity(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    (certificate, key): (&Path, &Path),
) -> Result<ClientConfig, String> {
    let file = secret_file::open(key);
    let file = file.map_err(|unfit| format!("the private key in `{}` {unfit}", key.display()))?;
    let chain = certificates(certificate)?;
    let unusable = |error: &dyn std::fmt::Display| {
        format!("`{}` is no private key in PEM: {error}", key.display())
    };
    let key = PrivateKeyDer::from_pem_reader(file).map_err(|error| unusable(&error))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| {
        format!("`{}` and its key do not go together: {error}", certificate.display())
    })
}

fn roots(authority: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(authority) = authority else {
        // Of the system's some may be unreadable for us; a server that needs one of them is
        // refused.
        let (added, _) =
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            return Err("the system has no authorities (the package ca-certificates)".to_owned());
        }
        return Ok(roots);
    };
    for certificate in certificates(authority)? {
        roots
            .add(certificate)
            .map_err(|error| format!("`{}`: no authority: {error}", authority.display()))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unusable = |why: &dyn std::fmt::Display| {
        format!("`{}` has no certificates in PEM: {why}", path.display())
    };
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(&error))?;
    if found.is_empty() { Err(unusable(&"it is empty")) } else { Ok(found) }
}

/// Takes a certificate for any name, by one of the authorities if there are some, as long as the
/// server has its key.
#[derive(Debug)]
struct AnyName {
    by: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(by) = &self.by {
            let certificate = ParsedCertificate::try_from(certificate)?;
            let known = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, by, chain, now, known)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
