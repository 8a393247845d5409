//! `net:`, `unix:` and `locks:`.

#[cfg(feature = "tcp")]
use std::env::{self, VarError};
use std::path::PathBuf;

use locks_core::directory::{default_directory, make_private};
use locks_core::{Backend, ErrorKind, LockError};
#[cfg(feature = "tcp")]
use locks_net::{Authority, Certificate, Fingerprint, Secret};
use locks_net::{NetBackend, NetBuilder};

#[cfg(feature = "tcp")]
use super::options::{NO_SECRETS, host_and_port};
use super::options::{Settings, parse_duration};
use super::{absolute_path, refused};

/// Where the secret is, if no file is named.
#[cfg(feature = "tcp")]
const SECRET: &str = "LOCKS_SECRET";

/// Where `locks serve` listens on TCP, unless told otherwise.
#[cfg(feature = "tcp")]
const PORT: u16 = 7420;

/// Whether a process that uses `net:` may become the one that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Serving {
    AsTold,
    Never,
}

pub(super) fn open_machine(place: &str, settings: Settings) -> Result<Backend, LockError> {
    machine(place, settings, Serving::AsTold).map(Backend::new)
}

pub(super) fn open_unix(place: &str, settings: Settings) -> Result<Backend, LockError> {
    unix(place, settings).map(Backend::new)
}

#[cfg(feature = "tcp")]
pub(super) fn open_tcp(place: &str, settings: Settings) -> Result<Backend, LockError> {
    tcp(place, settings).map(Backend::new)
}

/// Whether it is one of these schemes.
pub(super) fn is_served(scheme: &str) -> bool {
    ["net", "unix", "locks"].contains(&scheme)
}

/// The backend, if one of these schemes names it.
pub(super) fn backend(
    scheme: &str,
    place: &str,
    settings: Settings,
    serving: Serving,
) -> Option<Result<NetBackend, LockError>> {
    match scheme {
        "net" => Some(machine(place, settings, serving)),
        "unix" => Some(unix(place, settings)),
        "locks" => Some(tcp(place, settings)),
        _ => None,
    }
}

/// The directory of a server that is told none: apart from that of `net:`, where processes serve
/// for each other.
pub(crate) fn directory_of_server() -> Result<PathBuf, LockError> {
    Ok(default_directory()?.join("serve"))
}

/// The directory above all that is this user's by default. Whoever goes on to make one in it would
/// make this one as open as the umask says, and lock files would not do in it.
pub(crate) fn made_default_directory() -> Result<PathBuf, LockError> {
    let directory = default_directory()?;
    make_private(&directory).map_err(|error| {
        let why = format!("`{}` cannot be made: {error}", directory.display());
        LockError::new(ErrorKind::Unavailable, "").with_message(why).with_source(error)
    })?;
    Ok(directory)
}

/// Its socket.
pub(crate) fn socket_of_server() -> Result<PathBuf, LockError> {
    Ok(directory_of_server()?.join("locks.sock"))
}

fn machine(place: &str, settings: Settings, serving: Serving) -> Result<NetBackend, LockError> {
    let path = match absolute_path("net", place, "/var/lib/app/locks")? {
        Some(path) => path,
        None if serving == Serving::Never => default_directory()?.join("server"),
        None => made_default_directory()?.join("server"),
    };
    let mut builder = NetBackend::machine(path);
    match (settings.get("serve"), serving) {
        (None | Some("yes"), Serving::AsTold) => {}
        (None | Some("yes" | "no"), _) => builder = builder.serve(false),
        (Some(_), _) => return Err(refused("option `serve` wants `yes` or `no`".into())),
    }
    finish(builder, &settings)
}

fn unix(place: &str, settings: Settings) -> Result<NetBackend, LockError> {
    let path = match absolute_path("unix", place, "/run/locks/locks.sock")? {
        Some(path) => path,
        None => socket_of_server()?,
    };
    let mut builder = NetBackend::unix(path);
    if let Some(user) = settings.get("user") {
        let why = "option `user` wants the number of a user, as `id -u NAME` tells it";
        builder = builder.allow_user(user.parse().map_err(|_| refused(why.into()))?);
    }
    finish(builder, &settings)
}

#[cfg(feature = "tcp")]
fn tcp(place: &str, settings: Settings) -> Result<NetBackend, LockError> {
    let address = address(place)?;
    let certificate = settings.identity(["cert", "key"])?;
    let certificate = certificate.map(|[of, key]| Certificate::read(of, key)).transpose()?;
    let secret = match settings.get("secret_file") {
        Some(path) => Some(Secret::read(path)?),
        None => secret_of_environment(certificate.is_some())?,
    };
    let mut builder = NetBackend::tcp(address, secret);
    if let Some(path) = settings.get("ca") {
        builder = builder.authority(Authority::read(path)?);
    }
    if let Some(pin) = settings.get("pin") {
        let pin =
            Fingerprint::parse(pin).map_err(|error| refused(format!("option `pin`: {error}")))?;
        builder = builder.pin(pin);
    }
    if let Some(certificate) = certificate {
        builder = builder.certificate(certificate);
    }
    finish(builder, &settings)
}

#[cfg(not(feature = "tcp"))]
fn tcp(_: &str, _: Settings) -> Result<NetBackend, LockError> {
    Err(refused("this program was built without `locks:`: it takes `features = [\"tcp\"]` of the crate `locks`".into()))
}

/// Host and port.
#[cfg(feature = "tcp")]
fn address(place: &str) -> Result<String, LockError> {
    let host = place.strip_prefix("//").unwrap_or(place);
    let host = host.strip_suffix('/').unwrap_or(host);
    if host.contains('@') {
        return Err(refused(format!("`locks:` knows no users, and {NO_SECRETS}")));
    }
    if host.contains(',') {
        return Err(refused("`locks:` takes one host: a lock is at one server".into()));
    }
    let example =
        "`locks:` takes a host, and a port if it is not 7420: `locks://locks.example.org:7420`";
    if host.contains('/') {
        return Err(refused(example.into()));
    }
    match host_and_port("locks", host, PORT)? {
        ("", _) => Err(refused(example.into())),
        (name, port) => Ok(format!("{name}:{port}")),
    }
}

/// `None` where there is none, and `certificate` in place of it.
#[cfg(feature = "tcp")]
fn secret_of_environment(certificate: bool) -> Result<Option<Secret>, LockError> {
    match env::var(SECRET) {
        Ok(text) => Secret::parse(&text).map(Some).map_err(|error| {
            let text = format!("`{SECRET}`: {error}");
            error.with_message(text)
        }),
        Err(VarError::NotPresent) if certificate => Ok(None),
        Err(VarError::NotPresent) => Err(refused(format!(
            "`locks:` needs the server's secret: name its file by `?secret_file=/path`, or put it into \
             the environment variable `{SECRET}`"
        ))),
        Err(VarError::NotUnicode(_)) => Err(refused(format!("`{SECRET}` is not UTF-8"))),
    }
}

/// With what all of them take.
fn finish(mut builder: NetBuilder, settings: &Settings) -> Result<NetBackend, LockError> {
    if let Some(label) = settings.get("label") {
        builder = builder.label(label);
    }
    if let Some(process) = settings.get("process") {
        builder = builder.process(process);
    }
    if let Some(connect) = settings.get("connect") {
        builder = builder.connect(parse_duration("connect", connect)?);
    }
    if let Some(lease) = settings.lease {
        builder = builder.lease(lease);
    }
    builder.build()
}
