//! `etcd:`.

use std::fs;

use locks_core::{Backend, LockError};
use locks_engines::etcd::Etcd;

use super::options::{
    NO_PASSWORDS, Settings, authority_and_path, decode, host_and_port, parse_duration,
};
use super::password::{password, read_secret};
use super::refused;

/// Where etcd listens for clients, unless told otherwise.
const PORT: u16 = 2379;

pub(super) fn open(place: &str, settings: Settings) -> Result<Backend, LockError> {
    let Place { user, members, namespace } = Place::parse(place)?;
    let mut builder = Etcd::builder(members);
    match (namespace, &settings.namespace) {
        (Some(_), Some(_)) => {
            let why = "`etcd:`: its namespace is its path or the option `namespace`, not both";
            return Err(refused(why.into()));
        }
        (Some(namespace), None) => builder = builder.namespace(namespace),
        (None, Some(namespace)) => builder = builder.namespace(namespace),
        (None, None) => {}
    }
    if let Some(user) = user {
        builder = builder.user(user);
        // Without a user a password that is there is another server's.
        if let Some(password) = password(&settings)? {
            builder = builder.password(password);
        }
    } else if settings.get("password_file").is_some() {
        let why = "option `password_file` wants a user, as in `etcd://app@host:2379`";
        return Err(refused(why.into()));
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
    builder = builder.tls(settings.flag("tls")?);
    if let Some(path) = settings.get("ca") {
        builder = builder.authority(read("ca", path)?);
    }
    if let Some([certificate, key]) = settings.identity(["cert", "key"])? {
        builder = builder.identity(read("cert", certificate)?, read_secret("key", key)?);
    }
    builder.build().map(Etcd::into_backend)
}

/// A PEM file.
fn read(option: &str, path: &str) -> Result<Vec<u8>, LockError> {
    fs::read(path).map_err(|error| {
        refused(format!("option `{option}`: `{path}` cannot be read: {error}")).with_source(error)
    })
}

/// What stands before the options.
struct Place {
    user: Option<String>,
    members: Vec<String>,
    namespace: Option<String>,
}

impl Place {
    fn parse(place: &str) -> Result<Self, LockError> {
        let example = "`etcd:` takes members, as in `etcd://10.0.0.1:2379,10.0.0.2:2379`";
        let place = place.strip_prefix("//").ok_or_else(|| refused(example.into()))?;
        let (authority, path) = authority_and_path("etcd", place)?;
        let (user, members) = match authority.rsplit_once('@') {
            Some((user, members)) => (Some(user).filter(|user| !user.is_empty()), members),
            None => (None, authority),
        };
        if authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
            return Err(refused(format!("`etcd:`: {NO_PASSWORDS}")));
        }
        let text = |what: &str, text: &str| {
            let decoded = decode(text).map(|text| text.into_owned());
            decoded
                .ok_or_else(|| refused(format!("`etcd:`: its {what} is not percent-encoded UTF-8")))
        };
        let user = user.map(|user| text("user", user)).transpose()?;
        let members = members.split(',').map(|member| {
            let (host, port) = host_and_port("etcd", member, PORT)?;
            if host.is_empty() {
                return Err(refused(example.into()));
            }
            Ok(format!("{host}:{port}"))
        });
        let members = members.collect::<Result<_, _>>()?;
        let namespace = match path.trim_end_matches('/') {
            "" => None,
            path => Some(text("namespace", path)?),
        };
        Ok(Self { user, members, namespace })
    }
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
    fn a_cluster_is_named_by_its_members() {
        for (url, name) in [
            ("etcd://db", "etcd://db:2379"),
            ("etcd://a,b:7000,[::1]", "etcd://a:2379,b:7000,[::1]:2379"),
            ("etcd://a/billing?lease=30s&connect=1s&label=x", "etcd://a:2379"),
            ("etcd://a/?namespace=billing/locks", "etcd://a:2379"),
            ("etcd://@a?tls", "etcd://a:2379"),
        ] {
            assert_eq!(opened(url).as_deref(), Ok(name), "{url}");
        }
    }

    #[test]
    fn what_names_no_cluster_is_refused_in_words() {
        for (url, expected) in [
            ("etcd:", "`etcd:` takes members"),
            ("etcd:///billing", "`etcd:` takes members"),
            ("etcd://a,,b", "`etcd:` takes members"),
            ("etcd://a:0", "no number from 1 to 65535"),
            ("etcd://a:no", "no number from 1 to 65535"),
            ("etcd://:hunter2@a", "no place for a password"),
            ("etcd://app:hunter2@a", "no place for a password"),
            ("etcd://app:4242/hunter2@a", "is written as `%2F`"),
            ("etcd://a?password=hunter2", "no place for a password"),
            ("etcd://a?password_file=/etc/hostname", "wants a user"),
            ("etcd://app@a?password_file=/nowhere/at/all", "cannot be read"),
            ("etcd://a?lease=1s", "the shortest lease at etcd is `2s`"),
            ("etcd://a/one?namespace=two", "not both"),
            ("etcd://a?namespace=a%20b", "a namespace at etcd has"),
            ("etcd://a?tls=no", "option `tls` wants `yes`"),
            ("etcd://a?ca=/nowhere/at/all", "cannot be read"),
            ("etcd://a?cert=/etc/hostname", "go together"),
        ] {
            let text = opened(url).unwrap_err();
            assert!(text.contains(expected) && !text.contains("hunter2"), "{url}: {text}");
        }
    }
}
