//! Certificates and their keys, in files.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use locks_core::secret_file::{self, Unfit};
use locks_core::{ErrorKind, LockError};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::access::Fingerprint;

/// A certificate, with its chain up to the authority, and its private key.
#[derive(Clone)]
pub struct Certificate {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: Arc<PrivateKeyDer<'static>>,
}

/// Certificates of authorities, against which other certificates are checked.
#[derive(Clone)]
pub struct Authority(pub(super) Arc<RootCertStore>);

/// What a server makes for itself, in its directory.
const OWN: &str = "tls.pem";

impl Certificate {
    /// Reads a certificate and its key from two files in PEM, which may be the same. The key's has
    /// to be this user's or root's, and closed to others.
    ///
    /// # Errors
    /// `NotConfigured`, which says what is wrong with a file and how to mend it.
    pub fn read(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, LockError> {
        let (certificate, key) = (certificate.as_ref(), key.as_ref());
        let chain = certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&private(key)?)
            .map_err(|error| refused(key, &format!("has no private key in PEM: {error}")))?;
        Ok(Self { chain, key: Arc::new(key) })
    }

    /// Returns the SHA-256 of the certificate, as clients pin it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.chain[0])
    }

    /// The one that the server of this directory has made itself, now if it has none yet.
    pub(crate) fn of_server(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join(OWN);
        if !path.exists() {
            make(&path).map_err(|error| {
                let why = format!("cannot be made: {error}");
                LockError::new(ErrorKind::Io, "")
                    .with_message(format!("the certificate `{}` {why}", path.display()))
                    .with_source(error)
            })?;
        }
        Self::read(&path, &path)
    }
}

impl Authority {
    /// Reads certificates of authorities from a file in PEM.
    ///
    /// # Errors
    /// `NotConfigured`, which says what is wrong with the file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, LockError> {
        let path = path.as_ref();
        let mut store = RootCertStore::empty();
        for certificate in certificates(path)? {
            store.add(certificate).map_err(|error| {
                refused(path, &format!("has a certificate that is no authority's: {error}"))
            })?;
        }
        Ok(Self(Arc::new(store)))
    }
}

/// It appears as a whole: whoever comes after a crash finds it, or none.
fn make(path: &Path) -> io::Result<()> {
    let mut made =
        rcgen::CertificateParams::new(vec!["localhost".to_owned()]).map_err(io::Error::other)?;
    let name = &mut made.distinguished_name;
    name.push(rcgen::DnType::CommonName, "locks server");
    let key = rcgen::KeyPair::generate().map_err(io::Error::other)?;
    let certificate = made.self_signed(&key).map_err(io::Error::other)?;
    let unfinished = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(certificate.pem().as_bytes())?;
    file.write_all(key.serialize_pem().as_bytes())?;
    file.sync_all()?;
    fs::rename(unfinished, path)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LockError> {
    let contents = contents(path)?;
    let found = CertificateDer::pem_slice_iter(&contents).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| refused(path, &format!("is no PEM: {error}")))?;
    if found.is_empty() {
        return Err(refused(path, "has no certificate in PEM (`-----BEGIN CERTIFICATE-----`)"));
    }
    Ok(found)
}

fn contents(path: &Path) -> Result<Vec<u8>, LockError> {
    fs::read(path)
        .map_err(|error| refused(path, &format!("cannot be read: {error}")).with_source(error))
}

fn private(path: &Path) -> Result<Zeroizing<Vec<u8>>, LockError> {
    let mut contents = Zeroizing::new(Vec::new());
    secret_file::open(path)
        .and_then(|mut file| file.read_to_end(&mut contents).map_err(Unfit::from))
        .map_err(|unfit| unfit.refusal(format!("the private key in `{}`", path.display())))?;
    Ok(contents)
}

fn refused(path: &Path, why: &str) -> LockError {
    LockError::new(ErrorKind::NotConfigured, "").with_message(format!("`{}` {why}", path.display()))
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.fingerprint()).finish()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("certificates", &self.0.len()).finish_non_exhaustive()
    }
}
