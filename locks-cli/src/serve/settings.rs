//! What a server is to be like: what the flags say, else the environment, else a file, else the
//! defaults.

use std::env::{self, VarError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use locks::net::{Limits, Server, ServerBuilder};

use super::addresses::Address;
use super::clients::OnTcp;
use super::log::{Least, Log};
use super::{file, limits};
use crate::args::ServeArgs;
use crate::status::Failure;

/// The settings, as the file spells them; the environment says `LOCKS_SERVE_` and the name in capitals.
pub(super) const NAMES: [&str; 12] = [
    "listen",
    "secret_file",
    "clients",
    "cert",
    "key",
    "client_ca",
    "state",
    "allow_user",
    "lease",
    "limits",
    "log",
    "log_level",
];

/// The prefix of the variables.
const VARIABLE: &str = "LOCKS_SERVE_";

/// What one source says, or several that have been put over each other.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    listen: Vec<Address>,
    pub(super) on_tcp: OnTcp,
    state: Option<PathBuf>,
    allow_user: Vec<u32>,
    lease: Option<Duration>,
    log: Option<PathBuf>,
    log_level: Option<Least>,
    /// Names and values, which have been found good.
    limits: Vec<(String, String)>,
}

impl Settings {
    /// All that is said, by whomever.
    pub(super) fn gather(asked: &ServeArgs) -> Result<Self, Failure> {
        let mut by_flags = Self::default();
        for (name, values) in &asked.said {
            let flag = name.replace('_', "-");
            let flag = if *name == "limits" { "limit" } else { &flag };
            for value in values {
                by_flags
                    .add(name, value)
                    .map_err(|why| Failure::during(&format!("`--{flag}`"), why))?;
            }
        }
        let by_environment = Self::of_environment(&|name| env::var(name))?;
        let config = match (&asked.config, variable(&|name| env::var(name), "CONFIG")?) {
            (Some(path), _) => Some(path.clone()),
            (None, path) => path.map(PathBuf::from),
        };
        let by_file = match config {
            Some(path) => file::read(&path)?,
            None => Self::default(),
        };
        Ok(by_flags.over(by_environment).over(by_file))
    }

    /// What the variables say: lists with white space between.
    fn of_environment(look: &dyn Fn(&str) -> Result<String, VarError>) -> Result<Self, Failure> {
        let mut settings = Self::default();
        for name in NAMES {
            let capitals = name.to_ascii_uppercase();
            let Some(text) = variable(look, &capitals)? else { continue };
            let values = match name {
                "listen" | "allow_user" | "limits" => text.split_whitespace().collect(),
                _ => vec![text.as_str()],
            };
            for value in values {
                settings
                    .add(name, value)
                    .map_err(|why| Failure::during(&format!("`{VARIABLE}{capitals}`"), why))?;
            }
        }
        Ok(settings)
    }

    /// Takes in what a source says of a setting of this name, which is one of [`NAMES`]; for a limit
    /// `name=value`.
    pub(super) fn add(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "listen" => self.listen.push(Address::parse(value)?),
            "secret_file" => self.on_tcp.secret_file = Some(path(value)?),
            "clients" => self.on_tcp.clients = Some(path(value)?),
            "cert" => self.on_tcp.cert = Some(path(value)?),
            "key" => self.on_tcp.key = Some(path(value)?),
            "client_ca" => self.on_tcp.client_ca = Some(path(value)?),
            "state" => self.state = Some(path(value)?),
            "allow_user" => self.allow_user.push(
                value
                    .parse()
                    .map_err(|_| "a user is a number, as `id -u NAME` tells it".to_owned())?,
            ),
            "lease" => self.lease = Some(limits::time(value)?),
            "log" => self.log = Some(log_file(value)?),
            "log_level" => self.log_level = Some(Least::parse(value)?),
            "limits" => {
                let (name, value) = value
                    .split_once('=')
                    .ok_or_else(|| "a limit is `NAME=VALUE`, as in `keys=100000`".to_owned())?;
                limits::set(&mut Limits::default(), name, value)?;
                self.limits.push((name.to_owned(), value.to_owned()));
            }
            _ => return Err(format!("no setting `{name}`: there are `{}`", NAMES.join("`, `"))),
        }
        Ok(())
    }

    /// These, and what they do not say as `lower` says it. Limits go by name, lists as a whole.
    fn over(self, lower: Self) -> Self {
        let list = |upper: Vec<_>, lower| if upper.is_empty() { lower } else { upper };
        Self {
            listen: if self.listen.is_empty() { lower.listen } else { self.listen },
            on_tcp: self.on_tcp.over(lower.on_tcp),
            state: self.state.or(lower.state),
            allow_user: list(self.allow_user, lower.allow_user),
            lease: self.lease.or(lower.lease),
            log: self.log.or(lower.log),
            log_level: self.log_level.or(lower.log_level),
            // The last word counts.
            limits: lower.limits.into_iter().chain(self.limits).collect(),
        }
    }

    /// Where the server's lines go.
    pub(super) fn log(&self) -> Result<Log, Failure> {
        let by_environment =
            || env::var("RUST_LOG").ok().and_then(|text| Least::of_environment(&text));
        let least = self.log_level.or_else(by_environment).unwrap_or_default();
        Log::open(least, self.log.clone())
    }

    /// The server that they describe.
    pub(super) fn into_builder(mut self, log: Arc<Log>) -> Result<ServerBuilder, Failure> {
        if self.listen.is_empty() {
            self.listen.push(Address::Unix(None));
        }
        self.check()?;
        let mut wanted = Limits::default();
        for (name, value) in &self.limits {
            limits::set(&mut wanted, name, value).map_err(Failure::new)?;
        }
        wanted.lease = self.lease.unwrap_or(wanted.lease);
        // Not asked for in vain: a server that is told all has no need of a home.
        let told_all = self.state.is_some() && !self.listen.contains(&Address::Unix(None));
        let [directory, socket] =
            if told_all { Default::default() } else { locks::place_of_server()? };
        let mut builder =
            Server::builder().state(self.state.as_ref().unwrap_or(&directory)).limits(wanted);
        builder = builder.log(move |line| log.tell(line));
        for user in &self.allow_user {
            builder = builder.allow_user(*user);
        }
        let mut tcp = Vec::new();
        for address in &self.listen {
            match address {
                Address::Unix(path) => builder = builder.unix(path.as_ref().unwrap_or(&socket)),
                Address::Tcp(address) => tcp.push(*address),
            }
        }
        if tcp.is_empty() { Ok(builder) } else { self.on_tcp.add_to(builder, &tcp) }
    }

    /// Nothing that is said is without effect.
    fn check(&self) -> Result<(), Failure> {
        let on_tcp = |address: &Address| matches!(address, Address::Tcp(_));
        if let Some(name) = self.on_tcp.first_said()
            && !self.listen.iter().any(on_tcp)
        {
            return Err(Failure::new(format!(
                "`{name}` is for TCP, and no `listen` says `tcp:`: over a Unix socket it is the user that counts"
            )));
        }
        if !self.allow_user.is_empty() && self.listen.iter().all(on_tcp) {
            return Err(Failure::new(
                "`allow_user` is for Unix sockets, and no `listen` says `unix:`: over TCP it is the \
                 secret that counts",
            ));
        }
        Ok(())
    }
}

/// A variable of the server's, if it says anything.
fn variable(
    look: &dyn Fn(&str) -> Result<String, VarError>,
    name: &str,
) -> Result<Option<String>, Failure> {
    match look(&format!("{VARIABLE}{name}")) {
        Ok(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => {
            Err(Failure::new(format!("`{VARIABLE}{name}` is not UTF-8")))
        }
    }
}

fn path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("the path is empty".to_owned()),
        _ => std::path::absolute(text).map_err(|error| format!("`{text}`: {error}")),
    }
}

/// Lines used to be asked for by level here, so that a file of such a name is hardly meant.
fn log_file(text: &str) -> Result<PathBuf, String> {
    match Least::parse(text) {
        Ok(_) => Err(format!(
            "it takes a file; for a level say `--log-level {text}`, and for a file of that name `./{text}`"
        )),
        Err(_) => path(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(said: &[(&str, &str)]) -> Settings {
        let mut settings = Settings::default();
        said.iter().for_each(|(name, value)| settings.add(name, value).unwrap());
        settings
    }

    #[test]
    fn the_upper_source_counts_and_limits_go_by_name() {
        let upper = [("listen", "unix:/a"), ("limits", "keys=1"), ("lease", "5s")];
        let lower = [
            ("listen", "unix:/b"),
            ("listen", "unix:/c"),
            ("state", "/s"),
            ("allow_user", "7"),
            ("limits", "keys=2"),
            ("limits", "waiters=3"),
            ("lease", "6s"),
        ];
        let both = settings(&upper).over(settings(&lower));
        assert_eq!(both.listen, [Address::Unix(Some("/a".into()))]);
        assert_eq!((both.state, both.lease), (Some("/s".into()), Some(Duration::from_secs(5))));
        assert_eq!(both.allow_user, [7]);
        let mut wanted = Limits::default();
        for (name, value) in &both.limits {
            limits::set(&mut wanted, name, value).unwrap();
        }
        assert_eq!((wanted.keys, wanted.waiters), (1, 3));
    }

    #[test]
    fn variables_are_read_by_name_and_empty_ones_say_nothing() {
        let look = |name: &str| match name {
            "LOCKS_SERVE_LISTEN" => Ok("unix:/a  tcp:127.0.0.1:1".to_owned()),
            "LOCKS_SERVE_ALLOW_USER" => Ok("1 2".to_owned()),
            "LOCKS_SERVE_LIMITS" => Ok("keys=5 waiters=6".to_owned()),
            "LOCKS_SERVE_STATE" => Ok(String::new()),
            _ => Err(VarError::NotPresent),
        };
        let read = Settings::of_environment(&look).unwrap();
        let meant = settings(&[
            ("listen", "unix:/a"),
            ("listen", "tcp:127.0.0.1:1"),
            ("allow_user", "1"),
            ("allow_user", "2"),
            ("limits", "keys=5"),
            ("limits", "waiters=6"),
        ]);
        assert_eq!(read, meant);
        let look = |_: &str| Ok("nonsense".to_owned());
        let error = Settings::of_environment(&look).unwrap_err();
        assert!(error.text().starts_with("`LOCKS_SERVE_LISTEN`: an address is"), "{error:?}");
    }

    #[test]
    fn what_would_be_without_effect_is_refused() {
        for (said, expected) in [
            (&[("listen", "unix:/a"), ("secret_file", "/s")][..], "`secret_file` is for TCP"),
            (&[("listen", "tcp:127.0.0.1:1"), ("allow_user", "3")], "`allow_user` is for Unix"),
        ] {
            let error = settings(said).into_builder(Arc::default()).unwrap_err();
            assert!(error.text().contains(expected), "{error:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_setting_is_told() {
        for (name, value, expected) in [
            ("allow_user", "me", "a user is a number"),
            ("state", "", "the path is empty"),
            ("lease", "5", "a duration is"),
            ("lease", "0s", "a duration is"),
            ("log", "warn", "`--log-level warn`"),
            ("log_level", "loud", "a level is"),
            ("limits", "keys", "a limit is `NAME=VALUE`"),
            ("limits", "locks=3", "no limit `locks`"),
            ("secret", "x", "no setting `secret`: there are `listen`, `secret_file`"),
        ] {
            let why = Settings::default().add(name, value).unwrap_err();
            assert!(why.contains(expected), "{name}: {why}");
        }
    }
}
