//! From a URL to a backend. Errors never repeat the URL: it may hold a secret.

use std::borrow::Cow;

use locks_core::{Backend, ErrorKind, LockError, Wait};

use crate::defaults::{Defaults, Namespace};
use crate::duration;

/// Every scheme that means something, whether or not this build can serve it.
const SCHEMES: &[Scheme] = &[
    Scheme { name: "memory", serves: "the threads and tasks of this process", open: Ok(memory) },
    Scheme { name: "file", serves: "the processes of one machine", open: LATER },
    Scheme { name: "net", serves: "the processes of one machine", open: LATER },
    Scheme { name: "locks", serves: "the clients of a lock server", open: LATER },
    Scheme { name: "lockss", serves: "the clients of a lock server, by TLS", open: LATER },
    Scheme { name: "unix", serves: "the clients of a lock server on this machine", open: LATER },
    Scheme { name: "redis", serves: "the clients of a Redis server", open: LATER },
    Scheme { name: "rediss", serves: "the clients of a Redis server, by TLS", open: LATER },
    Scheme { name: "postgres", serves: "the clients of a PostgreSQL server", open: LATER },
    Scheme { name: "etcd", serves: "the clients of an etcd cluster", open: LATER },
];

/// A scheme of URLs.
struct Scheme {
    name: &'static str,
    /// Whom it serves.
    serves: &'static str,
    /// How to open what lies behind the scheme, or what is missing here for that.
    open: Result<Open, Missing>,
}

/// Opens the backend at what follows the scheme and its colon, options taken off.
type Open = fn(&str) -> Result<Backend, LockError>;

/// Why a build cannot serve a scheme.
struct Missing(&'static str);

const LATER: Result<Open, Missing> = Err(Missing("this version of `locks` does not have it yet"));

/// The backend at `url`; see [`crate::open`].
pub(crate) fn open(url: &str) -> Result<Backend, LockError> {
    let (name, rest) = split_scheme(url)
        .ok_or_else(|| refused(format!("not a URL: it begins with no scheme; {}", Known)))?;
    let scheme = SCHEMES
        .iter()
        .find(|scheme| name.eq_ignore_ascii_case(scheme.name))
        .ok_or_else(|| refused(format!("`{name}:` is no scheme known here; {Known}")))?;
    let open = scheme.open.as_ref().map_err(|Missing(why)| {
        refused(format!("`{}:` is for {}, and {why}; {Known}", scheme.name, scheme.serves))
    })?;
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, query),
        None => (rest, ""),
    };
    let defaults = parse_options(query)?;
    let backend = open(place)?;
    Ok(defaults.around(backend))
}

fn memory(place: &str) -> Result<Backend, LockError> {
    match place {
        "" | "//" => Ok(Backend::process()),
        _ => Err(refused("`memory:` is this process and takes neither host nor path".into())),
    }
}

/// The scheme, and what follows its colon.
fn split_scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let mut letters = scheme.bytes();
    let ours = letters.next()?.is_ascii_alphabetic()
        && letters.all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c));
    ours.then_some((scheme, rest))
}

fn parse_options(query: &str) -> Result<Defaults, LockError> {
    let mut defaults = Defaults::default();
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = decode(value)
            .ok_or_else(|| refused(format!("option `{name}`: not percent-encoded UTF-8")))?;
        let first = match name {
            "wait" => defaults.wait.replace(parse_wait(&value)?).is_none(),
            "lease" => {
                let lease = duration::parse(&value).filter(|lease| !lease.is_zero());
                let lease = lease
                    .ok_or_else(|| refused(format!("option `lease` wants {}", duration::SHAPE)))?;
                defaults.lease.replace(lease).is_none()
            }
            "namespace" => {
                let namespace = Namespace::new(&value).map_err(|why| refused(why.into()))?;
                defaults.namespace.replace(namespace).is_none()
            }
            _ => {
                return Err(refused(format!(
                    "no option `{name}`: there are `wait`, `lease` and `namespace`"
                )));
            }
        };
        if !first {
            return Err(refused(format!("option `{name}` is given twice")));
        }
    }
    Ok(defaults)
}

fn parse_wait(value: &str) -> Result<Wait, LockError> {
    match value {
        "true" => Ok(Wait::Forever),
        "false" => Ok(Wait::No),
        _ => duration::parse(value).map(Wait::AtMost).ok_or_else(|| {
            refused(format!("option `wait` wants `true`, `false` or {}", duration::SHAPE))
        }),
    }
}

/// `text` with each `%XX` replaced by the byte it stands for.
fn decode(text: &str) -> Option<Cow<'_, str>> {
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

fn refused(why: String) -> LockError {
    LockError::new(ErrorKind::NotConfigured, "").with_message(why)
}

/// What can be used instead, as the end of a sentence.
struct Known;

impl std::fmt::Display for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("use ")?;
        let served = SCHEMES.iter().filter(|scheme| scheme.open.is_ok());
        for (index, scheme) in served.enumerate() {
            let separator = if index == 0 { "" } else { ", or " };
            write!(f, "{separator}`{}:` for {}", scheme.name, scheme.serves)?;
        }
        f.write_str(", or `locks::install` a backend of your own")?;
        let mut missing = SCHEMES.iter().filter(|scheme| scheme.open.is_err()).peekable();
        if missing.peek().is_some() {
            f.write_str(" (known, but not in this build: ")?;
            while let Some(scheme) = missing.next() {
                let separator = if missing.peek().is_some() { ", " } else { ")" };
                write!(f, "`{}:`{separator}", scheme.name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(url: &str) -> String {
        let error = open(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConfigured, "{url}");
        error.to_string()
    }

    #[test]
    fn memory_without_options_is_the_engine_itself() {
        for url in ["memory:", "MEMORY:", "memory://", "memory:?", "memory:?&"] {
            let backend = open(url).unwrap();
            assert_eq!(format!("{backend:?}"), format!("{:?}", Backend::process()), "{url}");
        }
    }

    #[test]
    fn an_unknown_scheme_names_the_known_ones() {
        let text = text("mysql://root:hunter2@db/locks");
        assert!(text.starts_with("`mysql:` is no scheme known here; use `memory:`"), "{text}");
        for scheme in SCHEMES {
            assert!(text.contains(&format!("`{}:`", scheme.name)), "{}: {text}", scheme.name);
        }
    }

    #[test]
    fn a_known_scheme_that_is_missing_says_why() {
        for scheme in SCHEMES {
            let Err(Missing(why)) = &scheme.open else { continue };
            let text = text(&format!("{}://somewhere", scheme.name));
            assert!(text.contains(why) && text.contains(scheme.serves), "{text}");
        }
    }

    #[test]
    fn errors_repeat_no_secret() {
        for url in [
            "mysql://root:hunter2@db/",
            "redis://:hunter2@db/",
            "hunter2",
            "memory:hunter2",
            "memory:?password=hunter2",
            "memory:?wait=hunter2",
            "memory:?lease=hunter2",
        ] {
            assert!(!text(url).contains("hunter2"), "{}", text(url));
        }
    }

    #[test]
    fn options_that_are_wrong_name_those_that_are_right() {
        for (url, expected) in [
            ("memory:?waits=1s", "no option `waits`: there are `wait`, `lease` and `namespace`"),
            ("memory:?wait", "option `wait` wants `true`, `false` or a number and a unit"),
            ("memory:?wait=5", "option `wait` wants `true`, `false` or a number and a unit"),
            ("memory:?lease=0s", "option `lease` wants a number and a unit"),
            ("memory:?wait=1s&wait=2s", "option `wait` is given twice"),
            ("memory:?namespace=", "option `namespace` is empty"),
            ("memory:?namespace=a/b", "option `namespace` must not contain `/`"),
            ("memory:?namespace=%zz", "option `namespace`: not percent-encoded UTF-8"),
            ("memory:/tmp", "`memory:` is this process"),
            (":", "not a URL"),
        ] {
            assert!(text(url).contains(expected), "{url}: {}", text(url));
        }
    }

    #[test]
    fn values_are_percent_decoded() {
        assert_eq!(decode("a%2Fb%c3%A9").as_deref(), Some("a/bé"));
        for wrong in ["%", "%4", "%g0", "%ff"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
