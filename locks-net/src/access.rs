//! Who may come in over TCP, and what each may do (N5).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use locks_core::{ErrorKind, LockError};

use crate::secret::{Secret, check_name};

/// The SHA-256 of a certificate (of its DER bytes), by which a client trusts a server, or a server
/// knows a client.
///
/// ```
/// use locks::net::Fingerprint;
/// let fingerprint = Fingerprint::parse(&"a7".repeat(32))?;
/// assert_eq!(fingerprint.to_string(), "a7".repeat(32));
/// # Ok::<(), locks::LockError>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub(crate) [u8; 32]);

/// The clients that a server lets in over TCP: by secrets, and by certificates.
///
/// ```
/// use locks::net::{Client, Clients, Secret};
/// let clients = Clients::new()
///     .client("deploy", Client::new().secret(Secret::generate()?).namespace("deploy/"))?
///     .client("operator", Client::new().secret(Secret::generate()?).steal().admin())?;
/// # Ok::<(), locks::LockError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Clients {
    named: BTreeMap<String, Client>,
    /// For certificates that are nobody's above.
    others: Option<Client>,
}

/// The credentials of a client, and its rights.
///
/// By default it may lock every key, and neither steal nor administer.
#[derive(Clone, Debug, Default)]
pub struct Client {
    secrets: Vec<Arc<Secret>>,
    certificates: Vec<Fingerprint>,
    namespace: String,
    steal: bool,
    admin: bool,
}

/// Who somebody is that was let in over TCP, and may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// Sessions belong to it.
    pub(crate) name: String,
    /// What all its keys begin with.
    pub(crate) namespace: String,
    pub(crate) steal: bool,
    pub(crate) admin: bool,
    /// How that was shown.
    pub(crate) shown: Shown,
}

/// What somebody has shown to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Secret(Arc<Secret>),
    Certificate(Fingerprint),
}

impl Clients {
    /// Creates an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a client by name.
    ///
    /// # Errors
    /// `NotConfigured` if it has neither secret nor certificate, more than two secrets, those of
    /// another name, or if the name or a certificate is on the list already.
    pub fn client(mut self, name: impl Into<String>, client: Client) -> Result<Self, LockError> {
        let name = name.into();
        if !name.is_empty() {
            check_name(&name)?;
        }
        let refused = |why: &str| {
            let why = format!("the client `{name}` {why}");
            Err(LockError::new(ErrorKind::NotConfigured, "").with_message(why))
        };
        let others = self.named.values();
        if client.secrets.is_empty() && client.certificates.is_empty() {
            return refused("has neither a secret nor a certificate: nobody could be it");
        }
        if client.secrets.len() > 2 {
            return refused("has more than two secrets: one, and while it is replaced another one");
        }
        if client.secrets.iter().any(|secret| !["", &name].contains(&secret.name())) {
            return refused("has a secret that was made for another name");
        }
        if others.flat_map(|it| &it.certificates).any(|it| client.certificates.contains(it)) {
            return refused("has a certificate that another one has as well");
        }
        if self.named.contains_key(&name) {
            return refused("is there twice");
        }
        self.named.insert(name, client);
        Ok(self)
    }

    /// Lets in all other clients with a certificate of the server's
    /// [authority](crate::ServerBuilder::client_authority), with the rights of `client`.
    #[must_use]
    pub fn others(mut self, client: Client) -> Self {
        self.others = Some(client);
        self
    }

    /// Returns `true` if the list lets no client in.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.others.is_none()
    }

    /// The client of this name whose secret does it.
    pub(crate) fn by_secret(
        &self,
        name: &str,
        does: impl Fn(&Secret) -> bool,
    ) -> Option<(Access, Arc<Secret>)> {
        let client = self.named.get(name)?;
        let secret = client.secrets.iter().find(|secret| does(secret))?;
        Some((client.access(name, Shown::Secret(secret.clone())), secret.clone()))
    }

    pub(crate) fn by_certificate(&self, certificate: Fingerprint) -> Option<Access> {
        let mut named = self.named.iter();
        let shown = Shown::Certificate(certificate);
        match named.find(|(_, client)| client.certificates.contains(&certificate)) {
            Some((name, client)) => Some(client.access(name, shown)),
            // Two of them are not the same.
            None => Some(self.others.as_ref()?.access(&format!("={certificate}"), shown)),
        }
    }

    /// What somebody who was let in may do by this list, if anything.
    pub(crate) fn still(&self, access: &Access) -> Option<Access> {
        let again = match &access.shown {
            Shown::Secret(shown) => self.by_secret(&access.name, |it| it.is_as(shown))?.0,
            Shown::Certificate(certificate) => self.by_certificate(*certificate)?,
        };
        (again.name == access.name).then_some(again)
    }

    /// Whether somebody of this name may be let in.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.named.contains_key(name) || name.starts_with('=') && self.others.is_some()
    }
}

/// The clients that know the secret, by its name: they may do everything.
impl From<Secret> for Clients {
    fn from(secret: Secret) -> Self {
        let (name, mut clients) = (secret.name().to_owned(), Self::new());
        clients.named.insert(name, Client::new().secret(secret).steal().admin());
        clients
    }
}

impl Client {
    /// Creates a client without credentials.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a secret that lets the client in. Two are valid at a time, so that one can replace the
    /// other.
    #[must_use]
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secrets.push(Arc::new(secret));
        self
    }

    /// Adds a certificate that lets the client in; the server's
    /// [authority](crate::ServerBuilder::client_authority) has to have signed it.
    #[must_use]
    pub fn certificate(mut self, certificate: Fingerprint) -> Self {
        self.certificates.push(certificate);
        self
    }

    /// Restricts the client to keys that begin with `prefix`; it can neither lock nor list others.
    /// It exchanges messages with clients of the same namespace.
    #[must_use]
    pub fn namespace(mut self, prefix: impl Into<String>) -> Self {
        self.namespace = prefix.into();
        self
    }

    /// Permits the client to steal locks by `steal_after`.
    #[must_use]
    pub fn steal(mut self) -> Self {
        self.steal = true;
        self
    }

    /// Permits the client to release the holds of others, and to exchange messages with all clients
    /// whose namespaces begin with its own.
    #[must_use]
    pub fn admin(mut self) -> Self {
        self.admin = true;
        self
    }

    fn access(&self, name: &str, shown: Shown) -> Access {
        let Self { namespace, steal, admin, .. } = self;
        let (name, namespace) = (name.to_owned(), namespace.clone());
        Access { name, namespace, steal: *steal, admin: *admin, shown }
    }
}

impl Fingerprint {
    /// Parses 64 hexadecimal digits, in capitals or not, with or without `:` between pairs.
    ///
    /// # Errors
    /// `NotConfigured` for anything else.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        let digits = text.trim().replace(':', "");
        let pairs = digits.as_bytes().as_chunks::<2>().0;
        let bytes = pairs.iter().map(|pair| {
            let pair = str::from_utf8(pair)
                .ok()
                .filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()))?;
            u8::from_str_radix(pair, 16).ok()
        });
        let bytes = bytes.collect::<Option<Vec<_>>>().and_then(|bytes| bytes.try_into().ok());
        match bytes {
            Some(bytes) if digits.len() == 64 => Ok(Self(bytes)),
            _ => {
                let why = "a fingerprint of a certificate has 64 hexadecimal digits, as `openssl x509 -noout \
                           -fingerprint -sha256 -in FILE` says them";
                Err(LockError::new(ErrorKind::NotConfigured, "").with_message(why))
            }
        }
    }

    /// That of the certificate with these bytes.
    #[cfg(feature = "tcp")]
    pub(crate) fn of(der: &[u8]) -> Self {
        Self(hmac_sha256::Hash::hash(der))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(pair: &str) -> Secret {
        Secret::parse(&pair.repeat(32)).unwrap()
    }

    #[test]
    fn n5_a_name_may_have_two_secrets_while_one_is_replaced() {
        let both = Client::new().secret(secret("a1")).secret(secret("a2"));
        let clients = Clients::new().client("a", both.clone()).unwrap();
        let by = |clients: &Clients, pair| {
            clients.by_secret("a", |it| *it == secret(pair)).map(|it| it.0)
        };
        let old = by(&clients, "a1").unwrap();
        let new = by(&clients, "a2").unwrap();
        assert_eq!((by(&clients, "a3"), &*old.name), (None, "a"));
        let next = Clients::new().client("a", Client::new().secret(secret("a2")).admin()).unwrap();
        assert_eq!(next.still(&old), None, "its secret is good no more");
        assert!(next.still(&new).unwrap().admin, "what it may is what the newest list says");
        assert!(next.knows("a") && !Clients::new().knows("a"));
        let three = both.secret(secret("a3"));
        let error = Clients::new().client("a", three).unwrap_err().to_string();
        assert!(error.starts_with("the client `a` has more than two secrets"), "{error}");
    }

    #[test]
    fn n5_certificates_are_somebodys_or_of_others_apart() {
        let [one, other, third] = [[1; 32], [2; 32], [3; 32]].map(Fingerprint);
        let mine = || Client::new().certificate(one).namespace("a/");
        let clients = Clients::new().client("a", mine()).unwrap();
        assert_eq!(clients.by_certificate(one).unwrap().namespace, "a/");
        assert_eq!(clients.by_certificate(other), None);
        let open = clients.clone().others(Client::new());
        let names = [other, third].map(|it| open.by_certificate(it).unwrap().name);
        assert!(names[0] != names[1] && open.knows(&names[0]) && !clients.knows(&names[0]));
        let error = clients.client("b", mine()).unwrap_err().to_string();
        assert_eq!(error, "the client `b` has a certificate that another one has as well");
    }

    #[test]
    fn n5_fingerprints_are_read_as_they_are_written_elsewhere() {
        let plain = Fingerprint::parse(&"0a".repeat(32)).unwrap();
        let pairs = vec!["0A"; 32].join(":");
        assert_eq!(Fingerprint::parse(&pairs).unwrap(), plain);
        for wrong in ["", "0a", &"0a".repeat(33), &"+a".repeat(32), &"xy".repeat(32)] {
            assert!(Fingerprint::parse(wrong).is_err(), "{wrong}");
        }
    }
}
