//! `redis:`, and `rediss:`, which is the same by TLS.

use locks_core::{Backend, LockError};
use locks_engines::redis::{Redis, RedisBuilder};

use super::options::{
    NO_PASSWORDS, Settings, authority_and_path, bare, decode, host_and_port, parse_duration,
};
use super::password::{password, sentinel_password};
use super::refused;

/// Where Redis listens, unless told otherwise.
const PORT: u16 = 6379;

/// And its Sentinels.
const SENTINEL_PORT: u16 = 26379;

/// The options of `redis:`: those of `rediss:` without the last three, which are of TLS.
pub(super) const OPTIONS: &[&str] = ENCRYPTED_OPTIONS.split_at(ENCRYPTED_OPTIONS.len() - 3).0;

/// The options of `rediss:`.
pub(super) const ENCRYPTED_OPTIONS: &[&str] = &[
    "label",
    "connect",
    "password_file",
    "sentinel",
    "sentinel_user",
    "sentinel_password_file",
    "fresh",
    "evictable",
    "max_lag",
    "ca",
    "cert",
    "key",
];

pub(super) fn open(place: &str, settings: Settings) -> Result<Backend, LockError> {
    let builder = server("redis", place, &settings)?;
    finish(builder, &settings)
}

pub(super) fn open_encrypted(place: &str, settings: Settings) -> Result<Backend, LockError> {
    let mut builder = server("rediss", place, &settings)?.tls(true);
    if let Some(path) = settings.get("ca") {
        builder = builder.authority(path);
    }
    if let Some([certificate, key]) = settings.identity(["cert", "key"])? {
        builder = builder.identity(certificate, key);
    }
    finish(builder, &settings)
}

/// What both of them take.
fn finish(mut builder: RedisBuilder, settings: &Settings) -> Result<Backend, LockError> {
    if let Some(password) = password(settings)? {
        builder = builder.password(password);
    }
    match settings.get("sentinel") {
        Some("") => {
            let why = "option `sentinel` wants the name of a primary, as in `sentinel=mymaster`";
            return Err(refused(why.into()));
        }
        Some(primary) => {
            builder = builder.sentinel(primary);
            if let Some(user) = settings.get("sentinel_user") {
                builder = builder.sentinel_user(user);
            }
            if let Some(password) = sentinel_password(settings)? {
                builder = builder.sentinel_password(password);
            }
        }
        None => {
            let alone = ["sentinel_user", "sentinel_password_file"];
            if let Some(alone) = alone.into_iter().find(|of| settings.get(of).is_some()) {
                return Err(refused(format!(
                    "option `{alone}` wants `sentinel=`, the name of the primary that they watch"
                )));
            }
        }
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
    builder = builder.fresh(settings.flag("fresh")?);
    match settings.get("evictable") {
        None => {}
        Some("allow") => builder = builder.evictable(true),
        Some(_) => return Err(refused("option `evictable` wants `allow`".into())),
    }
    if let Some(max_lag) = settings.get("max_lag") {
        builder = builder.max_lag(parse_duration("max_lag", max_lag)?);
    }
    builder.build().map(Redis::into_backend)
}

/// Hosts, ports, user and database.
fn server(scheme: &str, place: &str, settings: &Settings) -> Result<RedisBuilder, LockError> {
    let example =
        || refused(format!("`{scheme}:` takes a server, as in `{scheme}://db.example:6379/0`"));
    let place = place.strip_prefix("//").ok_or_else(example)?;
    let (authority, path) = authority_and_path(scheme, place)?;
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (Some(user), hosts),
        None => (None, authority),
    };
    if user.is_some_and(|user| user.contains(':')) {
        return Err(refused(format!("`{scheme}:`: {NO_PASSWORDS}")));
    }
    let usual = if settings.get("sentinel").is_some() { SENTINEL_PORT } else { PORT };
    let mut builder: Option<RedisBuilder> = None;
    for host in hosts.split(',') {
        let (host, port) = host_and_port(scheme, host, usual)?;
        let host = bare(host);
        if host.is_empty() {
            return Err(example());
        }
        builder = Some(match builder {
            None => Redis::builder(host, port),
            Some(builder) => builder.or_node(host, port),
        });
    }
    let mut builder = builder.ok_or_else(example)?;
    if let Some(user) = user.filter(|user| !user.is_empty()) {
        let user = decode(user).ok_or_else(|| {
            refused(format!("`{scheme}:`: its user is not percent-encoded UTF-8"))
        })?;
        builder = builder.user(user);
    }
    if !path.is_empty() {
        let why = format!(
            "the path of `{scheme}:` is the number of a database, as in `{scheme}://127.0.0.1/0`"
        );
        builder = builder.database(path.parse().map_err(|_| refused(why))?);
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
            ("redis://[fe80::1%eth0]:7000", "redis://[fe80::1%eth0]:7000"),
            ("redis://a,b:7000,[::1]", "redis://a:6379,b:7000,[::1]:6379"),
            ("rediss://db?connect=1s&max_lag=10s", "rediss://db:6379"),
            (
                "redis://app@a,b:7000/1?sentinel=mymaster&sentinel_user=watch",
                "redis://a:26379,b:7000?sentinel=mymaster",
            ),
        ] {
            assert_eq!(opened(url).as_deref(), Ok(name), "{url}");
        }
    }

    /// Redis takes no longer one than the URL says, which is no reason to tell that it ends there.
    #[test]
    fn a_lease_that_is_too_short_hears_the_whole_range() {
        for lease in ["1ms", "299ms"] {
            let backend = crate::open(&format!("redis://127.0.0.1?lease={lease}")).unwrap();
            let short = std::time::Duration::from_millis(1);
            let error = backend.named("k").lease(short).acquire().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
            assert!(error.to_string().contains("takes 300 ms to 1 d"), "{lease}: {error}");
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
            ("redis://app:4242/hunter2@db", "is written as `%2F`"),
            ("redis://db?password=hunter2", "no place for a password"),
            ("redis://db?fresh=no", "option `fresh` wants `yes`"),
            ("redis://db?max_lag=0s", "option `max_lag`: it has to be longer than 0"),
            ("redis://db?evictable=yes", "option `evictable` wants `allow`"),
            ("redis://db?namespace=a/b", "a namespace at Redis has"),
            ("redis://db?password_file=/nowhere/at/all", "cannot be read"),
            ("redis://a,,b", "`redis:` takes a server"),
            ("rediss://", "`rediss:` takes a server, as in `rediss:"),
            ("redis://db?ca=/nowhere", "no option `ca`"),
            ("rediss://db?ca=/nowhere/at/all", "/nowhere/at/all"),
            ("rediss://db?cert=/etc/hostname", "go together"),
            ("rediss://db?ca=/etc/hostname", "no certificates in PEM"),
            ("redis://db?sentinel=", "wants the name of a primary"),
            ("redis://db?sentinel_user=app", "wants `sentinel=`"),
            ("redis://db?sentinel=m&sentinel_password_file=/nowhere/at/all", "cannot be read"),
        ] {
            let text = opened(url).unwrap_err();
            assert!(text.contains(expected) && !text.contains("hunter2"), "{url}: {text}");
        }
    }
}
