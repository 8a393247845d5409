//! What follows the `?` of a URL.

use std::borrow::Cow;
use std::time::Duration;

use locks_core::{LockError, Wait};

use super::{Scheme, refused};
use crate::defaults::{Defaults, Namespace};
use crate::duration;

/// What every backend takes.
pub(super) const OPTIONS: [&str; 3] = ["wait", "lease", "namespace"];

/// What a scheme's backend is opened with.
#[derive(Clone, Debug, Default)]
#[cfg_attr(
    not(any(
        feature = "etcd",
        feature = "file",
        feature = "net",
        feature = "postgres",
        feature = "redis"
    )),
    expect(dead_code, reason = "this process has nothing to set")
)]
pub(super) struct Settings {
    /// Options that are not everybody's: names, which are the scheme's, and values.
    pub(super) own: Vec<(String, String)>,
    /// The lease, which is also a default of requests.
    #[cfg(any(feature = "etcd", feature = "net", feature = "postgres", feature = "redis"))]
    pub(super) lease: Option<Duration>,
    /// The namespace, where the arbiter has namespaces itself; it is none of [`Defaults`] then.
    #[cfg(any(feature = "etcd", feature = "redis"))]
    pub(super) namespace: Option<String>,
}

#[cfg(any(feature = "etcd", feature = "net", feature = "postgres", feature = "redis"))]
impl Settings {
    /// What an option of the scheme's own says.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.own.iter().find(|(of, _)| of == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether an option is there that says no more than `yes`.
    #[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
    pub(super) fn flag(&self, name: &str) -> Result<bool, LockError> {
        match self.get(name) {
            None => Ok(false),
            Some("" | "yes") => Ok(true),
            Some(_) => Err(refused(format!("option `{name}` wants `yes`"))),
        }
    }

    /// The files of a client's certificate and its key, which two options name.
    #[cfg(any(feature = "etcd", feature = "postgres", feature = "redis", feature = "tcp"))]
    pub(super) fn identity(&self, of: [&str; 2]) -> Result<Option<[&str; 2]>, LockError> {
        match of.map(|name| self.get(name)) {
            [None, None] => Ok(None),
            [Some(certificate), Some(key)] => Ok(Some([certificate, key])),
            _ => Err(refused(format!(
                "the options `{}` and `{}` go together: the certificate of a client, and its key",
                of[0], of[1]
            ))),
        }
    }
}

/// A host, in brackets if it is there in those, and a port, of a server of `scheme`.
#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis", feature = "tcp"))]
pub(super) fn host_and_port<'a>(
    scheme: &str,
    text: &'a str,
    usual: u16,
) -> Result<(&'a str, u16), LockError> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    // Where a server may listen on a socket.
    let is_directory = host.starts_with('/') || host.starts_with("%2F") || host.starts_with("%2f");
    // Else the last group of an address would be its port, and the rest another address.
    if !is_directory && host.contains([':', '[', ']']) && !is_in_brackets(host) {
        return Err(refused(format!(
            "an address with colons stands in brackets before its port, as in \
             `{scheme}://[2001:db8::1]:{usual}`"
        )));
    }
    if !is_directory && text.contains(char::is_whitespace) {
        return Err(refused(format!("a host of `{scheme}:` has a blank in it")));
    }
    let port = match port {
        None => usual,
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
            refused(format!("a port of `{scheme}:` is no number from 1 to 65535"))
        })?,
    };
    Ok((host, port))
}

/// Whether it is an address of IPv6 in brackets, perhaps with the name of an interface.
#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis", feature = "tcp"))]
fn is_in_brackets(host: &str) -> bool {
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let address = inside.and_then(|inside| inside.split('%').next());
    address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

/// What stands before the path of a server's URL, and the path.
///
/// # Errors
/// If the path has an `@`, since what looks like a server may be the user then, and the path a part
/// of the password. It is not repeated.
#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
pub(super) fn authority_and_path<'a>(
    scheme: &str,
    place: &'a str,
) -> Result<(&'a str, &'a str), LockError> {
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    if path.contains('@') {
        let why =
            "a `/` before the server's name is written as `%2F`, and an `@` behind it as `%40`";
        return Err(refused(format!("`{scheme}:`: {why}; {NO_PASSWORDS}")));
    }
    Ok((authority, path))
}

/// A host without its brackets.
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

pub(super) fn parse_options(
    query: &str,
    scheme: &Scheme,
) -> Result<(Defaults, Settings), LockError> {
    let (mut defaults, mut own) = (Defaults::default(), Vec::new());
    #[cfg(any(feature = "etcd", feature = "redis"))]
    let mut own_namespace = None;
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = decode(value)
            .ok_or_else(|| refused(format!("option `{name}`: not percent-encoded UTF-8")))?;
        let first = match name {
            "wait" => defaults.wait.replace(parse_wait(&value)?).is_none(),
            "lease" => defaults.lease.replace(parse_duration(name, &value)?).is_none(),
            #[cfg(any(feature = "etcd", feature = "redis"))]
            "namespace" if scheme.has_namespaces => {
                own_namespace.replace(value.into_owned()).is_none()
            }
            "namespace" => {
                let namespace = Namespace::new(&value).map_err(|why| refused(why.into()))?;
                defaults.namespace.replace(namespace).is_none()
            }
            "secret" | "password" if scheme.own.contains(&"secret_file") => {
                return Err(refused(format!("option `{name}`: {NO_SECRETS}")));
            }
            #[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
            "secret" | "password" if scheme.own.contains(&"password_file") => {
                return Err(refused(format!("option `{name}`: {NO_PASSWORDS}")));
            }
            // Not repeated: it may be the rest of a password.
            _ if !scheme.own.contains(&name) && option.contains('@') => {
                let why =
                    "no option has an `@`: a `?` before the server's name is written as `%3F`";
                return Err(refused(why.into()));
            }
            _ if !scheme.own.contains(&name) => {
                let known = [&OPTIONS[..], scheme.own].concat();
                return Err(refused(format!("no option `{name}`: there are {}", listed(&known))));
            }
            _ => {
                let first = own.iter().all(|(earlier, _)| earlier != name);
                own.push((name.to_owned(), value.into_owned()));
                first
            }
        };
        if !first {
            return Err(refused(format!("option `{name}` is given twice")));
        }
    }
    let settings = Settings {
        own,
        #[cfg(any(feature = "etcd", feature = "net", feature = "postgres", feature = "redis"))]
        lease: defaults.lease,
        #[cfg(any(feature = "etcd", feature = "redis"))]
        namespace: own_namespace,
    };
    Ok((defaults, settings))
}

/// Why secrets do not belong into a URL, and where they do.
pub(super) const NO_SECRETS: &str = "a URL is no place for a secret, since lists of processes and logs show it: name a file by \
     `?secret_file=/path`, or put it into the environment variable `LOCKS_SECRET`";

/// The same of passwords.
#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
pub(super) const NO_PASSWORDS: &str = "a URL is no place for a password, since lists of processes and logs show it: name a file by \
     `?password_file=/path`, or put it into the environment variable `LOCKS_PASSWORD`";

/// What an option of that name says, longer than no time.
pub(super) fn parse_duration(name: &str, value: &str) -> Result<Duration, LockError> {
    duration::parse_positive(value).map_err(|why| refused(format!("option `{name}`: {why}")))
}

/// The names, as the end of a sentence.
fn listed(names: &[&str]) -> String {
    let names = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

fn parse_wait(value: &str) -> Result<Wait, LockError> {
    duration::parse_wait(value).map_err(|why| refused(format!("option `wait`: {why}")))
}

/// `text` with each `%XX` replaced by the byte it stands for.
pub(super) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
