//! `redis:`.

use locks_core::{Backend, LockError};
use locks_engines::redis::{Redis, RedisBuilder};

use super::options::{NO_PASSWORDS, Settings, decode, parse_duration};
use super::password::password;
use super::refused;

/// Where Redis listens, unless told otherwise.
const PORT: u16 = 6379;

pub(super) fn open(place: &str, settings: Settings) -> Result<Backend, LockError> {
    let mut builder = server(place)?;
    if let Some(password) = password(&settings)? {
        builder = builder.password(password);
    }
    if let Some(label) = settings.get("label") {
        builder = builder.label(label);
    }
    if let Some(connect) = settings.get("connect") {
        builder = builder.connect(parse_duration("connect", connect)?);
    }
    if let Some(lease) = settings.lease {
        builder = builder.lease(lease);
    }
    if let Some(namespace) = &settings.namespace {
        builder = builder.namespace(namespace);
    }
    match settings.get("fresh") {
        None => {}
        Some("" | "yes") => builder = builder.fresh(true),
        Some(_) => return Err(refused("option `fresh` wants `yes`".into())),
    }
    match settings.get("evictable") {
        None => {}
        Some("allow") => builder = builder.evictable(true),
        Some(_) => return Err(refused("option `evictable` wants `allow`".into())),
    }
    builder.build().map(Redis::into_backend)
}

/// Host, port, user and database.
fn server(place: &str) -> Result<RedisBuilder, LockError> {
    let example = "`redis:` takes a server, as in `redis://db.example:6379/0`";
    let place = place.strip_prefix("//").ok_or_else(|| refused(example.into()))?;
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    if user.is_some_and(|user| user.contains(':')) {
        return Err(refused(format!("`redis:`: {NO_PASSWORDS}")));
    }
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let why = "the port of `redis:` is no number from 1 to 65535";
            let port = port.parse().ok().filter(|port| *port != 0);
            (host, port.ok_or_else(|| refused(why.into()))?)
        }
        _ => (host, PORT),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err(refused(example.into()));
    }
    let mut builder = Redis::builder(host, port);
    if let Some(user) = user.filter(|user| !user.is_empty()) {
        let user = decode(user)
            .ok_or_else(|| refused("`redis:`: its user is not percent-encoded UTF-8".into()))?;
        builder = builder.user(user);
    }
    if !path.is_empty() {
        let why = "the path of `redis:` is the number of a database, as in `redis://127.0.0.1/0`";
        builder = builder.database(path.parse().map_err(|_| refused(why.into()))?);
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use locks_core::ErrorKind;

    fn opened(url: &str) -> Result<String, String> {
        let backend = crate::open(url).map_err(|error| {
            assert_eq!(error.kind(), ErrorKind::NotConfigured, "{url}");
            error.to_string()
        })?;
        Ok(backend.about().name.clone())
    }

    #[test]
    fn a_server_is_named_by_host_port_user_and_database() {
        for (url, name) in [
            ("redis://db", "redis://db:6379"),
            ("redis://db:7000/", "redis://db:7000"),
            ("redis://app@db:7000/3?fresh=yes&lease=30s&namespace=billing", "redis://db:7000"),
            ("redis://[::1]:7000?evictable=allow&connect=1s&label=x", "redis://[::1]:7000"),
            ("redis://[::1]", "redis://[::1]:6379"),
        ] {
            assert_eq!(opened(url).as_deref(), Ok(name), "{url}");
        }
    }

    #[test]
    fn what_names_no_server_is_refused_in_words() {
        for (url, expected) in [
            ("redis:", "`redis:` takes a server"),
            ("redis:///0", "`redis:` takes a server"),
            ("redis://db:0", "no number from 1 to 65535"),
            ("redis://db:no", "no number from 1 to 65535"),
            ("redis://db/zero", "the number of a database"),
            ("redis://:hunter2@db", "no place for a password"),
            ("redis://app:hunter2@db", "no place for a password"),
            ("redis://db?password=hunter2", "no place for a password"),
            ("redis://db?fresh=no", "option `fresh` wants `yes`"),
            ("redis://db?evictable=yes", "option `evictable` wants `allow`"),
            ("redis://db?namespace=a/b", "a namespace at Redis has"),
            ("redis://db?password_file=/nowhere/at/all", "cannot be read"),
        ] {
            let text = opened(url).unwrap_err();
            assert!(text.contains(expected) && !text.contains("hunter2"), "{url}: {text}");
        }
    }
}
