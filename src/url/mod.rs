//! From a URL to a backend. Errors never repeat the URL: it may hold a secret.

#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "file")]
mod file;
#[cfg(feature = "net")]
mod net;
mod options;
#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
mod password;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod stray;
mod unknown;

use locks_core::{Backend, ErrorKind, LockError};

#[cfg(feature = "net")]
pub(crate) use self::net::{directory_of_server, made_default_directory, socket_of_server};
use self::options::{Settings, parse_options};
use self::stray::refuse_strays;
use self::unknown::{Known, no_scheme, unknown};
use crate::defaults::Defaults;

/// Every scheme that means something, whether or not this build can serve it.
const SCHEMES: &[Scheme] = &[
    Scheme {
        name: "memory",
        serves: "the threads and tasks of this process",
        own: &[],
        has_namespaces: false,
        open: Ok(memory),
    },
    Scheme {
        name: "file",
        serves: "the processes of one machine",
        own: &["label", "users", "network_fs"],
        has_namespaces: false,
        open: FILE,
    },
    Scheme {
        name: "net",
        serves: "the processes of one machine, which run a server for each other",
        own: &["label", "connect", "serve"],
        has_namespaces: false,
        open: NET,
    },
    Scheme {
        name: "unix",
        serves: "the clients of a `locks serve` on this machine",
        own: &["label", "connect", "user"],
        has_namespaces: false,
        open: UNIX,
    },
    Scheme {
        name: "locks",
        serves: "the clients of a `locks serve`, on any machine",
        own: &["label", "connect", "secret_file", "ca", "pin", "cert", "key"],
        has_namespaces: false,
        open: LOCKS,
    },
    Scheme {
        name: "redis",
        serves: "the clients of a Redis server",
        #[cfg(feature = "redis")]
        own: redis::OPTIONS,
        #[cfg(not(feature = "redis"))]
        own: &[],
        has_namespaces: true,
        open: REDIS,
    },
    Scheme {
        name: "rediss",
        serves: "the clients of a Redis server, by TLS",
        #[cfg(feature = "redis")]
        own: redis::ENCRYPTED_OPTIONS,
        #[cfg(not(feature = "redis"))]
        own: &[],
        has_namespaces: true,
        open: REDISS,
    },
    POSTGRES,
    Scheme { name: "postgresql", ..POSTGRES },
    Scheme {
        name: "etcd",
        serves: "the clients of an etcd cluster",
        own: &["label", "connect", "password_file", "tls", "ca", "cert", "key"],
        has_namespaces: true,
        open: ETCD,
    },
];

/// It goes by two names.
const POSTGRES: Scheme = Scheme {
    name: "postgres",
    serves: "the clients of a PostgreSQL server",
    #[cfg(feature = "postgres")]
    own: postgres::OPTIONS,
    #[cfg(not(feature = "postgres"))]
    own: &[],
    has_namespaces: false,
    open: OPEN_POSTGRES,
};

/// A scheme of URLs.
struct Scheme {
    name: &'static str,
    /// Whom it serves.
    serves: &'static str,
    /// The options of its URLs beside [those](options::OPTIONS) that every backend takes.
    own: &'static [&'static str],
    /// Whether namespaces are the arbiter's, instead of names before every key.
    #[cfg_attr(
        not(any(feature = "etcd", feature = "redis")),
        allow(dead_code, reason = "no such arbiter is there")
    )]
    has_namespaces: bool,
    /// How to open what lies behind the scheme, or what is missing here for that.
    open: Result<Open, Missing>,
}

impl Scheme {
    fn refuse(&self, Missing(why): &Missing, asks: Asks) -> LockError {
        let known = Known(asks);
        refused(format!("`{}:` is for {}, and {why}; {known}", self.name, self.serves))
    }
}

/// Opens the backend at what follows the scheme and its colon, with the options that are the
/// scheme's own.
type Open = fn(&str, Settings) -> Result<Backend, LockError>;

/// Why a build cannot serve a scheme.
struct Missing(&'static str);

/// Who asks for a backend, and reads what is wrong with its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// A program, which can do more than name a URL.
    Program,
    /// A person, of the command `locks`, which has to share its locks with other processes.
    #[cfg_attr(
        not(any(feature = "file", feature = "net")),
        allow(dead_code, reason = "the command has both")
    )]
    Command,
}

#[cfg(feature = "file")]
const FILE: Result<Open, Missing> = Ok(file::open);
#[cfg(not(feature = "file"))]
const FILE: Result<Open, Missing> = Err(Missing(
    "this program was built without it: it takes `features = [\"file\"]` of the crate `locks`",
));

#[cfg(feature = "etcd")]
const ETCD: Result<Open, Missing> = Ok(etcd::open);
#[cfg(not(feature = "etcd"))]
const ETCD: Result<Open, Missing> = Err(Missing(
    "this program was built without it: it takes `features = [\"etcd\"]` of the crate `locks`",
));

#[cfg(feature = "redis")]
const REDIS: Result<Open, Missing> = Ok(redis::open);
#[cfg(feature = "redis")]
const REDISS: Result<Open, Missing> = Ok(redis::open_encrypted);
#[cfg(not(feature = "redis"))]
const REDIS: Result<Open, Missing> = Err(Missing(
    "this program was built without it: it takes `features = [\"redis\"]` of the crate `locks`",
));
#[cfg(not(feature = "redis"))]
const REDISS: Result<Open, Missing> = REDIS;

#[cfg(feature = "postgres")]
const OPEN_POSTGRES: Result<Open, Missing> = Ok(postgres::open);
#[cfg(not(feature = "postgres"))]
const OPEN_POSTGRES: Result<Open, Missing> = Err(Missing(
    "this program was built without it: it takes `features = [\"postgres\"]` of the crate `locks`",
));

#[cfg(feature = "net")]
const NET: Result<Open, Missing> = Ok(net::open_machine);
#[cfg(feature = "net")]
const UNIX: Result<Open, Missing> = Ok(net::open_unix);
#[cfg(feature = "tcp")]
const LOCKS: Result<Open, Missing> = Ok(net::open_tcp);
#[cfg(not(feature = "tcp"))]
const LOCKS: Result<Open, Missing> = Err(Missing(
    "this program was built without it: it takes `features = [\"tcp\"]` of the crate `locks`",
));
#[cfg(not(feature = "net"))]
const WITHOUT_NET: Result<Open, Missing> = Err(Missing(
    "this program was built without it: it takes `features = [\"net\"]` of the crate `locks`",
));
#[cfg(not(feature = "net"))]
const NET: Result<Open, Missing> = WITHOUT_NET;
#[cfg(not(feature = "net"))]
const UNIX: Result<Open, Missing> = WITHOUT_NET;

/// The backend at `url`; see [`crate::open`].
pub(crate) fn open(url: &str) -> Result<Backend, LockError> {
    let Parsed { open, place, defaults, settings, .. } = parse(url, Asks::Program)?;
    Ok(defaults.around(open(place, settings)?))
}

/// The backend at `url`, where this process is called `process`, and `label` unless the URL says
/// otherwise, by those who hear of it from its server; see [`crate::open_labelled`].
#[cfg(feature = "net")]
pub(crate) fn open_labelled(
    url: &str,
    label: &str,
    process: &str,
) -> Result<(Backend, Option<locks_net::NetBackend>), LockError> {
    let Parsed { scheme, open, place, defaults, mut settings } = parse(url, Asks::Command)?;
    if settings.get("label").is_none() && net::is_served(scheme.name) {
        settings.own.push(("label".to_owned(), label.to_owned()));
    }
    if net::is_served(scheme.name) {
        settings.own.push(("process".to_owned(), process.to_owned()));
    }
    let Some(net) = net::backend(scheme.name, place, settings.clone(), net::Serving::AsTold) else {
        return Ok((defaults.around(open(place, settings)?), None));
    };
    let net = net?;
    Ok((defaults.around(Backend::new(net.clone())), Some(net)))
}

/// The file backend at `url`; see [`crate::open_files`].
#[cfg(feature = "file")]
pub(crate) fn open_files(url: &str) -> Result<locks_file::FileBackend, LockError> {
    let Parsed { scheme, place, settings, .. } = parse(url, Asks::Command)?;
    match scheme.name {
        "file" => file::backend(place, settings),
        other => Err(refused(format!(
            "`{other}:` has no lock files, as `file:` does, and leaves nothing behind that would have to \
             be removed"
        ))),
    }
}

/// The file backend at `url`, with the URL's defaults around it and without; see
/// [`crate::open_files_to_keep`].
#[cfg(feature = "file")]
pub(crate) fn open_files_to_keep(
    url: &str,
) -> Result<(Backend, locks_file::FileBackend), LockError> {
    let Parsed { scheme, place, defaults, settings, .. } = parse(url, Asks::Command)?;
    if scheme.name != "file" {
        let why = "only a file's lock can be handed on to another program; name a backend that has \
                   files, as in `--backend file:`";
        return Err(LockError::unsupported(&format!("{}:", scheme.name), "--no-fork", why));
    }
    let files = file::backend(place, settings)?;
    Ok((defaults.around(Backend::new(files.clone())), files))
}

/// The backend at `url`, which is not to become an arbiter for being looked at; see
/// [`crate::open_to_look`].
#[cfg(feature = "net")]
pub(crate) fn open_to_look(
    url: &str,
) -> Result<(Backend, Option<locks_net::NetBackend>), LockError> {
    let Parsed { scheme, open, place, defaults, settings } = parse(url, Asks::Command)?;
    let Some(net) = net::backend(scheme.name, place, settings.clone(), net::Serving::Never) else {
        return Ok((defaults.around(open(place, settings)?), None));
    };
    let net = net?;
    Ok((defaults.around(Backend::new(net.clone())), Some(net)))
}

/// A URL taken apart.
#[cfg_attr(
    not(any(feature = "file", feature = "net")),
    expect(dead_code, reason = "the scheme tells files and servers apart")
)]
struct Parsed<'a> {
    scheme: &'static Scheme,
    open: Open,
    place: &'a str,
    defaults: Defaults,
    settings: Settings,
}

fn parse(url: &str, asks: Asks) -> Result<Parsed<'_>, LockError> {
    refuse_strays(url)?;
    let (name, rest) = split_scheme(url).ok_or_else(|| no_scheme(url, asks))?;
    let scheme = SCHEMES
        .iter()
        .find(|scheme| name.eq_ignore_ascii_case(scheme.name))
        .ok_or_else(|| unknown(name, rest, asks))?;
    let open = *scheme.open.as_ref().map_err(|missing| scheme.refuse(missing, asks))?;
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, query),
        None => (rest, ""),
    };
    let (defaults, settings) = parse_options(query, scheme)?;
    Ok(Parsed { scheme, open, place, defaults, settings })
}

fn memory(place: &str, _: Settings) -> Result<Backend, LockError> {
    match place {
        "" | "//" => Ok(Backend::process()),
        _ => Err(refused("`memory:` is this process and takes neither host nor path".into())),
    }
}

/// The absolute path that a URL of `scheme` names; `None`: none, which is this user's own.
#[cfg(any(feature = "file", feature = "net"))]
fn absolute_path(
    scheme: &str,
    place: &str,
    example: &str,
) -> Result<Option<std::path::PathBuf>, LockError> {
    match place.strip_prefix("//").unwrap_or(place) {
        "" => Ok(None),
        path if path.starts_with('/') && path.contains(|c| c != '/') => {
            let path = options::decode(path).ok_or_else(|| {
                refused(format!("`{scheme}:`: its path is not percent-encoded UTF-8"))
            })?;
            Ok(Some(path.into_owned().into()))
        }
        // Such as `file:///$UNSET`, which is not meant to be another directory.
        _ => Err(refused(format!(
            "`{scheme}:` takes an absolute path, as in `{scheme}://{example}`, or none for this user's own"
        ))),
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

fn refused(why: String) -> LockError {
    LockError::new(ErrorKind::NotConfigured, "").with_message(why)
}

#[cfg(test)]
mod tests;
