//! From a URL to a backend. Errors never repeat the URL: it may hold a secret.

use std::borrow::Cow;

use locks_core::{Backend, ErrorKind, LockError, Wait};

use crate::defaults::{Defaults, Namespace};
use crate::duration;

/// Every scheme that means something, whether or not this build can serve it.
const SCHEMES: &[Scheme] = &[
    Scheme { name: "memory", serves: "the threads and tasks of this process", open: Ok(memory) },
    Scheme { name: "file", serves: "the processes of one machine", open: FILE },
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

/// What every backend takes.
const OPTIONS: [&str; 3] = ["wait", "lease", "namespace"];

impl Scheme {
    /// The options of its URLs beside [`OPTIONS`].
    fn own(&self) -> &'static [&'static str] {
        match self.name {
            "file" => &["label", "users", "network_fs"],
            _ => &[],
        }
    }

    fn refuse(&self, Missing(why): &Missing) -> LockError {
        refused(format!("`{}:` is for {}, and {why}; {Known}", self.name, self.serves))
    }
}

/// Opens the backend at what follows the scheme and its colon, with the options that are the scheme's
/// own.
type Open = fn(&str, Own) -> Result<Backend, LockError>;

/// Options that are not everybody's: names, which are the scheme's, and values.
type Own = Vec<(String, String)>;

/// Why a build cannot serve a scheme.
struct Missing(&'static str);

const LATER: Result<Open, Missing> = Err(Missing("this version of `locks` does not have it yet"));

/// The backend at `url`; see [`crate::open`].
pub(crate) fn open(url: &str) -> Result<Backend, LockError> {
    let Parsed { open, place, defaults, own, .. } = parse(url)?;
    Ok(defaults.around(open(place, own)?))
}

/// The file backend at `url`; see [`crate::open_files`].
#[cfg(feature = "file")]
pub(crate) fn open_files(url: &str) -> Result<locks_file::FileBackend, LockError> {
    let Parsed { scheme, place, own, .. } = parse(url)?;
    match scheme.name {
        "file" => file_backend(place, own),
        other => Err(refused(format!("`{other}:` has no lock files, as `file:` does"))),
    }
}

/// A URL taken apart.
#[cfg_attr(not(feature = "file"), expect(dead_code, reason = "the scheme tells files apart"))]
struct Parsed<'a> {
    scheme: &'static Scheme,
    open: Open,
    place: &'a str,
    defaults: Defaults,
    own: Own,
}

fn parse(url: &str) -> Result<Parsed<'_>, LockError> {
    let (name, rest) = split_scheme(url).ok_or_else(|| no_scheme(url))?;
    let scheme = SCHEMES
        .iter()
        .find(|scheme| name.eq_ignore_ascii_case(scheme.name))
        .ok_or_else(|| refused(format!("`{name}:` is no scheme known here; {Known}")))?;
    let open = *scheme.open.as_ref().map_err(|missing| scheme.refuse(missing))?;
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, query),
        None => (rest, ""),
    };
    let (defaults, own) = parse_options(query, scheme)?;
    Ok(Parsed { scheme, open, place, defaults, own })
}

fn memory(place: &str, _: Own) -> Result<Backend, LockError> {
    match place {
        "" | "//" => Ok(Backend::process()),
        _ => Err(refused("`memory:` is this process and takes neither host nor path".into())),
    }
}

#[cfg(feature = "file")]
const FILE: Result<Open, Missing> = Ok(file);
#[cfg(not(feature = "file"))]
const FILE: Result<Open, Missing> = Err(Missing("this build lacks the feature `file`"));

#[cfg(feature = "file")]
fn file(place: &str, own: Own) -> Result<Backend, LockError> {
    file_backend(place, own).map(Backend::from)
}

#[cfg(feature = "file")]
fn file_backend(place: &str, own: Own) -> Result<locks_file::FileBackend, LockError> {
    use locks_file::FileBackend;

    let path = match place.strip_prefix("//").unwrap_or(place) {
        "" => None,
        path if path.starts_with('/') && path.contains(|c| c != '/') => Some(path),
        // Such as `file:///$UNSET`, which is not meant to be another directory.
        _ => {
            let why = "`file:` takes an absolute path, as in `file:///var/lock/app`, or none for this \
                       user's own directory";
            return Err(refused(why.into()));
        }
    };
    let path = match path {
        Some(path) => decode(path)
            .ok_or_else(|| refused("`file:`: its path is not percent-encoded UTF-8".into()))?
            .into_owned()
            .into(),
        None => FileBackend::default_directory()?,
    };
    let mut builder = FileBackend::builder(path);
    for (name, value) in own {
        builder = match (&*name, &*value) {
            ("network_fs", "allow") => builder.allow_network_fs(),
            ("network_fs", _) => return Err(refused("option `network_fs` wants `allow`".into())),
            ("users", "several") => builder.of_several_users(),
            ("users", _) => return Err(refused("option `users` wants `several`".into())),
            (_, label) => builder.label(label),
        };
    }
    builder.open()
}

/// The scheme, and what follows its colon.
fn split_scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let mut letters = scheme.bytes();
    let ours = letters.next()?.is_ascii_alphabetic()
        && letters.all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c));
    ours.then_some((scheme, rest))
}

fn parse_options(query: &str, scheme: &Scheme) -> Result<(Defaults, Own), LockError> {
    let (mut defaults, mut own) = (Defaults::default(), Own::new());
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
            _ if !scheme.own().contains(&name) => {
                let known = [&OPTIONS[..], scheme.own()].concat();
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
    Ok((defaults, own))
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

fn no_scheme(url: &str) -> LockError {
    let hint = if url.starts_with('/') { ": write `file://` before a directory" } else { "" };
    refused(format!("not a URL: it begins with no scheme{hint}; {Known}"))
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
    #[cfg(feature = "file")]
    use std::env;

    #[cfg(feature = "file")]
    use locks_core::LockBackend as _;

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
    fn a_path_is_told_what_makes_it_a_url() {
        let text = text("/var/lock/hunter2");
        assert!(text.contains("write `file://` before a directory"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
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

    #[cfg(feature = "file")]
    #[test]
    fn file_urls_say_what_is_wrong_with_them() {
        for (url, expected) in [
            ("file:relative/dir", "`file:` takes an absolute path, as in `file:///var/lock/app`"),
            ("file://host/dir", "`file:` takes an absolute path"),
            ("file:///", "`file:` takes an absolute path"),
            ("file:/", "`file:` takes an absolute path"),
            ("file:///tmp/%ff", "its path is not percent-encoded UTF-8"),
            ("file:///tmp?user=several", "`namespace`, `label`, `users` and `network_fs`"),
            ("file:///tmp?users=all", "option `users` wants `several`"),
            ("file:///tmp?network_fs=yes", "option `network_fs` wants `allow`"),
            ("file:///tmp?label=a&label=b", "option `label` is given twice"),
        ] {
            assert!(text(url).contains(expected), "{url}: {}", text(url));
        }
    }

    #[cfg(feature = "file")]
    #[test]
    fn file_urls_name_a_directory() {
        let directory = env::temp_dir().join(format!("locks url é {}", std::process::id()));
        let encoded = directory.display().to_string().replace(' ', "%20").replace('é', "%C3%A9");
        for url in [format!("file://{encoded}"), format!("file:{encoded}?label=x&users=several")] {
            let backend = open(&url).unwrap();
            assert_eq!(backend.about().name, format!("file://{}", directory.display()));
        }
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn values_are_percent_decoded() {
        assert_eq!(decode("a%2Fb%c3%A9").as_deref(), Some("a/bé"));
        for wrong in ["%", "%4", "%g0", "%ff"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
