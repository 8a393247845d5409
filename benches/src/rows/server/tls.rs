//! TLS for the floors and for Redis with the settings of our own server: version 1.3, by rustls,
//! with a self-signed certificate.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{
    CertificateDer, IpAddr, Ipv4Addr, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime,
};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConfig, ServerConnection,
    SignatureScheme, StreamOwned,
};

/// One end of a connection.
#[derive(Debug)]
pub(super) enum Secure {
    Client(StreamOwned<ClientConnection, TcpStream>),
    Server(StreamOwned<ServerConnection, TcpStream>),
}

/// What a server shows.
#[derive(Debug)]
pub(super) struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Identity {
    pub(super) fn new() -> io::Result<Self> {
        let params = CertificateParams::new(vec!["localhost".to_owned()]);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.and_then(|it| it.self_signed(&key)).map_err(io::Error::other)?;
        Ok(Self { certificate, key })
    }

    /// Writes `certificate.pem` and `key.pem` to a directory that others cannot enter.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        fs::write(directory.join("certificate.pem"), self.certificate.pem())?;
        fs::write(directory.join("key.pem"), self.key.serialize_pem())
    }

    pub(super) fn server(&self) -> io::Result<Arc<ServerConfig>> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]);
        let builder = builder.map_err(io::Error::other)?.with_no_client_auth();
        let config = builder.with_single_cert(vec![self.certificate.der().clone()], key);
        let mut config = config.map_err(io::Error::other)?;
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

impl Secure {
    pub(super) fn client(stream: TcpStream) -> io::Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]);
        let builder = builder.map_err(io::Error::other)?.dangerous();
        let verifier = Arc::new(AnyCertificate(provider));
        let config = builder.with_custom_certificate_verifier(verifier).with_no_client_auth();
        let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([127, 0, 0, 1])));
        let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        Ok(Self::Client(StreamOwned::new(connection, stream)))
    }

    pub(super) fn server(stream: TcpStream, config: &Arc<ServerConfig>) -> io::Result<Self> {
        let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        Ok(Self::Server(StreamOwned::new(connection, stream)))
    }
}

/// Any is good enough on this machine.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
