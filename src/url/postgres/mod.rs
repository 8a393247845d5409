//! `postgres:` and `postgresql:`.

mod passfile;

use locks_core::{Backend, LockError};
use locks_engines::postgres::{Durability, Postgres, PostgresBuilder, Tls};

use self::passfile::Wanted;
use super::options::{
    NO_PASSWORDS, Settings, authority_and_path, bare, decode, host_and_port, parse_duration,
};
use super::password::{of_environment, password, read_secret};
use super::refused;

/// Where PostgreSQL listens, unless told otherwise.
const PORT: u16 = 5432;

/// The options of these URLs.
pub(super) const OPTIONS: &[&str] = &[
    "label",
    "connect",
    "schema",
    "durable",
    "listen",
    "poll",
    "fresh",
    "host",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "password_file",
    "passfile",
];

pub(super) fn open(place: &str, settings: Settings) -> Result<Backend, LockError> {
    let server = Server::parse(place, &settings)?;
    let mut hosts = server.hosts.iter();
    let (host, port) = hosts.next().ok_or_else(|| refused(EXAMPLE.into()))?;
    let mut builder = Postgres::builder(host).port(*port);
    for (host, port) in hosts {
        builder = builder.or_host(host).port(*port);
    }
    if let Some(user) = &server.user {
        builder = builder.user(user);
    }
    if let Some(database) = &server.database {
        builder = builder.database(database);
    }
    if let Some(password) = server.find_password(&settings)? {
        builder = builder.password(password);
    }
    configured(builder, &settings)?.build().map(Postgres::into_backend)
}

fn configured(
    mut builder: PostgresBuilder,
    settings: &Settings,
) -> Result<PostgresBuilder, LockError> {
    if let Some(label) = settings.get("label") {
        builder = builder.label(label);
    }
    if let Some(connect) = settings.get("connect") {
        builder = builder.connect(parse_duration("connect", connect)?);
    }
    if let Some(lease) = settings.lease {
        builder = builder.lease(lease);
    }
    if let Some(schema) = settings.get("schema") {
        builder = builder.schema(schema);
    }
    if let Some(listen) = settings.get("listen") {
        for at in listen.split(',') {
            let (host, port) = address(at)?;
            builder = builder.listen(host, port);
        }
    }
    builder = builder.poll(settings.flag("poll")?).fresh(settings.flag("fresh")?);
    builder = match settings.get("durable") {
        None => builder,
        Some("" | "logged") => builder.durability(Durability::Logged),
        Some("replicated") => builder.durability(Durability::Replicated),
        Some(_) => {
            let why = "option `durable` wants `logged` or `replicated`";
            return Err(refused(why.into()));
        }
    };
    builder = match settings.get("sslmode") {
        None => builder,
        Some("disable") => builder.tls(Tls::Off),
        Some("require") => builder.tls(Tls::Unverified),
        Some("verify-full") => builder.tls(Tls::Verified),
        Some(_) => {
            let why = "option `sslmode` wants `disable`, `require` (encrypted; the certificate \
                       is by those in `sslrootcert`, if that is set) or `verify-full`";
            return Err(refused(why.into()));
        }
    };
    if let Some(path) = settings.get("sslrootcert") {
        builder = builder.authority(path);
    }
    if let Some([certificate, key]) = settings.identity(["sslcert", "sslkey"])? {
        builder = builder.identity(certificate, key);
    }
    Ok(builder)
}

const EXAMPLE: &str =
    "`postgres:` takes a server and a database, as in `postgres://app@db.example:5432/billing`";

/// What the place of a URL names.
struct Server {
    hosts: Vec<(String, u16)>,
    user: Option<String>,
    database: Option<String>,
}

impl Server {
    fn parse(place: &str, settings: &Settings) -> Result<Self, LockError> {
        let place = place.strip_prefix("//").ok_or_else(|| refused(EXAMPLE.into()))?;
        let (authority, path) = authority_and_path("postgres", place)?;
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (user, hosts),
            None => ("", authority),
        };
        if user.contains(':') {
            return Err(refused(format!("`postgres:`: {NO_PASSWORDS}")));
        }
        let hosts = match settings.get("host") {
            Some(_) if !hosts.is_empty() => {
                return Err(refused(
                    "option `host` is for URLs that name none before their path".into(),
                ));
            }
            Some(host) => host,
            None => hosts,
        };
        if hosts.is_empty() {
            return Err(refused(EXAMPLE.into()));
        }
        Ok(Self {
            hosts: hosts.split(',').map(address).collect::<Result<_, _>>()?,
            user: part("user", user)?,
            database: part("database", path)?,
        })
    }

    /// From a file, or the environment.
    fn find_password(&self, settings: &Settings) -> Result<Option<String>, LockError> {
        if let Some(path) = settings.get("passfile") {
            let text = read_secret("passfile", path)?;
            return self.find_in(&text)?.map(Some).ok_or_else(|| {
                let why = "has no line `host:port:database:user:password` for this server";
                refused(format!("option `passfile`: `{path}` {why}"))
            });
        }
        if settings.get("password_file").is_none()
            && let Some(password) = of_environment("PGPASSWORD")?
        {
            return Ok(Some(password));
        }
        password(settings)
    }

    fn find_in(&self, text: &str) -> Result<Option<String>, LockError> {
        let user = match &self.user {
            Some(user) => user.clone(),
            // As the client does, and `psql`: what the environment says may be missing, or another.
            None => locks_engines::postgres::own_user().map_err(|error| {
                let why = "this process's own user has no name: name one in the URL, as in \
                           `postgres://app@db/billing`";
                refused(format!("option `passfile`: {why}")).with_source(error)
            })?,
        };
        let database = self.database.as_deref().unwrap_or(&user);
        Ok(self.hosts.iter().find_map(|(host, port)| {
            passfile::find(text, &Wanted { host, port: *port, database, user: &user })
        }))
    }
}

/// A percent-encoded part of the URL, if there is one.
fn part(name: &str, text: &str) -> Result<Option<String>, LockError> {
    let why = || refused(format!("`postgres:`: its {name} is not percent-encoded UTF-8"));
    let text = decode(text).ok_or_else(why)?;
    Ok((!text.is_empty()).then(|| text.into_owned()))
}

/// A host, or the directory of a socket, and a port.
fn address(text: &str) -> Result<(String, u16), LockError> {
    let (host, port) = host_and_port("postgres", text, PORT)?;
    let host = part("host", bare(host))?.ok_or_else(|| refused(EXAMPLE.into()))?;
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use locks_core::{ErrorKind, Exclusion};

    fn opened(url: &str) -> Result<String, String> {
        let backend = crate::open(url).map_err(|error| {
            assert_eq!(error.kind(), ErrorKind::NotConfigured, "{url}");
            error.to_string()
        })?;
        assert!(!format!("{backend:?}").contains("hunter"), "{url}");
        Ok(backend.about().name.clone())
    }

    #[test]
    fn a_server_is_named_by_hosts_user_and_database() {
        for (url, name) in [
            ("postgres://db/shop?sslmode=require", "postgres://db:5432/shop"),
            ("postgresql://app@db:6000/?sslmode=disable", "postgres://db:6000/"),
            ("postgres://a:1,b:2/shop?sslmode=require", "postgres://a:1,b:2/shop"),
            ("postgres://[::1]:7000/x?lease=30s&schema=mine&label=x", "postgres://[::1]:7000/x"),
            ("postgres://%2Fvar%2Frun/x?durable", "postgres:///x?host=/var/run:5432"),
            ("postgres://db/a%40b?sslmode=require", "postgres://db:5432/a@b"),
            ("postgres:///x?host=/var/run:6000&poll&fresh=yes", "postgres:///x?host=/var/run:6000"),
            ("postgres://127.0.0.1/x?listen=db:5432&connect=1s", "postgres://127.0.0.1:5432/x"),
            ("postgres://127.0.0.1/x?listen=a,[::1]:5,c", "postgres://127.0.0.1:5432/x"),
        ] {
            assert_eq!(opened(url).as_deref(), Ok(name), "{url}");
        }
    }

    /// Whoever reads it looks for the file.
    #[cfg(unix)]
    #[test]
    fn a_socket_that_is_not_there_is_named_as_a_file_and_so_is_its_port() {
        let directory = format!("/nowhere/{}", std::process::id());
        for (host, file) in [("", ".s.PGSQL.5432"), (":5433", ".s.PGSQL.5433")] {
            let url = format!("postgres://app@/x?host={directory}{host}&connect=200ms");
            let backend = crate::open(&url).unwrap();
            let error = backend.named("k").wait(false).acquire().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            let text = error.to_string();
            assert!(text.contains(&format!("listens at `{directory}/{file}`")), "{text}");
            assert!(
                text.contains("`?host=/run/postgresql:5433`") && !text.contains("%2F"),
                "{text}"
            );
        }
        let long = format!("/{}", "d".repeat(100));
        let text = opened(&format!("postgres:///x?host={long}")).unwrap_err();
        assert!(text.contains("a socket has at most 10") && text.contains("has 115"), "{text}");
    }

    /// A file of passwords with this text, which so many may read.
    #[cfg(unix)]
    fn passfile(name: &str, mode: u32, text: &str) -> std::path::PathBuf {
        use std::os::unix::fs::PermissionsExt as _;

        let path = std::env::temp_dir().join(format!("locks-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[cfg(unix)]
    #[test]
    fn a_file_of_passwords_that_others_may_read_is_refused() {
        for (mode, is_private) in [(0o600, true), (0o400, true), (0o644, false), (0o604, false)] {
            let path = passfile("open", mode, "*:*:*:app:hunter2");
            let opened = opened(&format!("postgres://app@127.0.0.1/x?passfile={}", path.display()));
            std::fs::remove_file(path).unwrap();
            match opened {
                Ok(_) => assert!(is_private, "{mode:o}"),
                Err(text) => {
                    assert!(!is_private && text.contains("`chmod 6"), "{mode:o}: {text}");
                    assert!(!text.contains("hunter2"), "{text}");
                }
            }
        }
    }

    /// Whatever the environment calls it, or if it does not.
    #[cfg(unix)]
    #[test]
    fn without_a_user_a_password_of_the_process_s_own_is_found() {
        const CHILD: &str = "LOCKS_TEST_PASSFILE";
        if let Ok(path) = std::env::var(CHILD) {
            let url = format!("postgres://127.0.0.1/?passfile={path}");
            assert_eq!(opened(&url).as_deref(), Ok("postgres://127.0.0.1:5432/"));
            return;
        }
        let named = std::process::Command::new("id").arg("-un").output().expect("`id` runs");
        let user = String::from_utf8(named.stdout).expect("a name");
        let user = user.trim();
        let path = passfile("own", 0o600, &format!("*:*:{user}:{user}:hunter2\n"));
        let name = "url::postgres::tests::without_a_user_a_password_of_the_process_s_own_is_found";
        for called in [Some("somebody-else"), Some(""), None] {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", name]).env(CHILD, &path).env_remove("USER");
            if let Some(called) = called {
                child.env("USER", called);
            }
            let output = child.output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{called:?}: {said}");
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_is_promised_depends_on_what_is_kept() {
        let exclusion = |url: &str| crate::open(url).unwrap().about().capabilities.exclusion;
        let here = "postgres://127.0.0.1/x";
        for option in ["", "?durable=logged"] {
            assert_eq!(exclusion(&format!("{here}{option}")), Exclusion::LeaseUnlessDataIsLost);
        }
        assert_eq!(exclusion(&format!("{here}?durable=replicated")), Exclusion::Lease);
    }

    #[test]
    fn what_names_no_server_is_refused_in_words() {
        for (url, expected) in [
            ("postgres:", "`postgres:` takes a server"),
            ("postgres:///x", "`postgres:` takes a server"),
            ("postgres://db:0/x", "no number from 1 to 65535"),
            ("postgres://a,:5/x", "`postgres:` takes a server"),
            ("postgres://127.0.0.1/x?listen=a,:5", "`postgres:` takes a server"),
            ("postgres://127.0.0.1/x?listen=a:5,b:c", "no number from 1 to 65535"),
            ("postgres://db/x?host=other", "option `host` is for URLs"),
            ("postgres://db/x?sslmode=prefer", "option `sslmode` wants"),
            ("postgres://db/x?sslcert=/a", "go together"),
            ("postgres://db/x?sslmode=disable&sslrootcert=/a", "uses no certificates"),
            ("postgres://db/x?sslmode=disable&sslcert=/a&sslkey=/b", "uses no certificates"),
            (
                "postgres://db/x?sslmode=require&sslrootcert=/nowhere",
                "`/nowhere` has no certificates",
            ),
            ("postgres://127.0.0.1/x?sslrootcert=/nowhere", "`/nowhere` has no certificates"),
            ("postgres://127.0.0.1/x?schema=A", "a schema of locks has a name"),
            ("postgres://127.0.0.1/x?durable=no", "option `durable` wants"),
            ("postgres://127.0.0.1/x?poll=no", "option `poll` wants"),
            ("postgres://127.0.0.1/x?fresh=no", "option `fresh` wants"),
            ("postgres://127.0.0.1/x?poll&listen=db", "`poll` says that they are not"),
            ("postgres://127.0.0.1/x?passfile=/nowhere/at/all", "cannot be read"),
            ("postgres://127.0.0.1/x?password=hunter2", "no place for a password"),
            ("postgres://app:hunter2@127.0.0.1/x", "no place for a password"),
            ("postgres://:hunter2@127.0.0.1/x", "no place for a password"),
            ("postgres://app:4242/hunter2@db/x", "is written as `%2F`"),
            ("postgres://app:4242/a/hunter2@db", "is written as `%2F`"),
            ("postgres://app:4242/hunter2@db/x?host=other", "is written as `%2F`"),
            ("postgres://app:a?hunter2@db/x", "is written as `%3F`"),
            ("postgres://app:a?hunter2=b@db/x", "is written as `%3F`"),
        ] {
            let text = opened(url).unwrap_err();
            assert!(text.contains(expected) && !text.contains("hunter2"), "{url}: {text}");
        }
    }
}
