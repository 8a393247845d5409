//! What a server is to be like: what the flags say, else the environment, else a file, else the
//! defaults.

use std::env::{self, VarError};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use locks::net::{Limits, Server, ServerBuilder};

use super::addresses::{self, Address};
use super::clients::OnTcp;
use super::http;
use super::log::{Least, Log};
use super::{file, limits};
use crate::args::ServeArgs;
use crate::status::Failure;

/// The settings, as the file spells them; the environment says `LOCKS_SERVE_` and the name in
/// capitals.
pub(super) const NAMES: [&str; 15] = [
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
    "http",
    "http_token_file",
    "http_host",
];

/// Those that may be said several times.
pub(super) const LISTS: [&str; 3] = ["listen", "allow_user", "http_host"];

/// The prefix of the variables.
const VARIABLE: &str = "LOCKS_SERVE_";
/// What the page takes, in the directory of the journal.
const TOKEN: &str = "http.token";

/// What one source says, or several that have been put over each other.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    listen: Vec<Address>,
    pub(super) on_tcp: OnTcp,
    state: Option<PathBuf>,
    allow_user: Vec<u32>,
    lease: Option<Duration>,
    log: Option<PathBuf>,
    /// Who has said so, for when it cannot be opened.
    log_by: String,
    log_level: Option<Least>,
    http: Option<SocketAddr>,
    http_token_file: Option<PathBuf>,
    http_host: Vec<String>,
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
        let mut by_environment = Self::of_environment(&|name| env::var(name))?;
        let config = match (&asked.config, variable(&|name| env::var(name), "CONFIG")?) {
            (Some(path), _) => Some(path.clone()),
            (None, path) => path.map(PathBuf::from),
        };
        let by_file = match config {
            Some(path) => Self {
                log_by: format!("settings in `{}`: `log`", path.display()),
                ..file::read(&path)?
            },
            None => Self::default(),
        };
        by_flags.log_by = "`--log`".into();
        by_environment.log_by = format!("`{VARIABLE}LOG`");
        Ok(by_flags.over(by_environment).over(by_file))
    }

    /// What the variables say: lists with white space between.
    fn of_environment(look: &dyn Fn(&str) -> Result<String, VarError>) -> Result<Self, Failure> {
        let mut settings = Self::default();
        for name in NAMES {
            let capitals = name.to_ascii_uppercase();
            let Some(text) = variable(look, &capitals)? else { continue };
            let values = match name {
                name if name == "limits" || LISTS.contains(&name) => {
                    text.split_whitespace().collect()
                }
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

    /// Takes in what a source says of a setting of this name, which is one of [`NAMES`]; for a
    /// limit `name=value`.
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
            "http" => self.http = Some(addresses::page(value)?),
            "http_token_file" => self.http_token_file = Some(path(value)?),
            "http_host" => self.http_host.push(addresses::host(value)?),
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
        fn list<T>(upper: Vec<T>, lower: Vec<T>) -> Vec<T> {
            if upper.is_empty() { lower } else { upper }
        }
        Self {
            listen: if self.listen.is_empty() { lower.listen } else { self.listen },
            on_tcp: self.on_tcp.over(lower.on_tcp),
            state: self.state.or(lower.state),
            allow_user: list(self.allow_user, lower.allow_user),
            lease: self.lease.or(lower.lease),
            log_by: if self.log.is_some() { self.log_by } else { lower.log_by },
            log: self.log.or(lower.log),
            log_level: self.log_level.or(lower.log_level),
            http: self.http.or(lower.http),
            http_token_file: self.http_token_file.or(lower.http_token_file),
            http_host: list(self.http_host, lower.http_host),
            // The last word counts.
            limits: lower.limits.into_iter().chain(self.limits).collect(),
        }
    }

    /// Where the server's lines go.
    pub(super) fn log(&self) -> Result<Log, Failure> {
        let by_environment =
            || env::var("RUST_LOG").ok().and_then(|text| Least::of_environment(&text));
        let least = self.log_level.or_else(by_environment).unwrap_or_default();
        Log::open(least, self.log.clone(), &self.log_by)
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

    /// The page that they describe, if they do.
    pub(super) fn page(&self) -> Result<Option<http::PageSettings>, Failure> {
        let Some(address) = self.http else { return Ok(None) };
        let token_file = match (&self.http_token_file, &self.state) {
            (Some(path), _) => path.clone(),
            (None, Some(state)) => state.join(TOKEN),
            (None, None) => locks::place_of_server()?[0].join(TOKEN),
        };
        let hosts = self.http_host.iter().map(|host| host.to_ascii_lowercase()).collect();
        Ok(Some(http::PageSettings { address, hosts, token_file }))
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
        if self.http.is_none() && (self.http_token_file.is_some() || !self.http_host.is_empty()) {
            return Err(Failure::new(
                "`http_token_file` and `http_host` are for the page, and no `http` says where that is to be",
            ));
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
    match Least::parse_any(text) {
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
            (&[("listen", "unix:/a"), ("http_host", "x")], "`http_host` are for the page"),
        ] {
            let error = settings(said).into_builder(Arc::default()).unwrap_err();
            assert!(error.text().contains(expected), "{error:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_setting_is_told() {
        for (name, value, expected) in [
            ("allow_user", "me", "a user is a number"),
            ("http", "7421", "as in `127.0.0.1:7421`"),
            ("http", "0.0.0.0:7421", "other machines reach `0.0.0.0:7421`"),
            ("http_host", "https://x/", "a host is a name"),
            ("state", "", "the path is empty"),
            ("lease", "5", "a duration is"),
            ("lease", "0s", "it has to be longer than 0"),
            ("log", "warn", "`--log-level warn`"),
            ("log_level", "loud", "a level is"),
            ("log_level", "debug", "a level is `off`, `error`, `warn` or `info`"),
            ("limits", "keys", "a limit is `NAME=VALUE`"),
            ("limits", "locks=3", "no limit `locks`"),
            ("secret", "x", "no setting `secret`: there are `listen`, `secret_file`"),
        ] {
            let why = Settings::default().add(name, value).unwrap_err();
            assert!(why.contains(expected), "{name}: {why}");
        }
    }

    /// What is commented out in the example, as if it were not.
    fn example() -> String {
        let example = include_str!("../../../deploy/locks.toml");
        let said = example.lines().filter_map(|line| {
            let said = line.strip_prefix('#')?;
            let name = said.split([' ', ']']).next()?.trim_start_matches('[');
            let is_name = !name.is_empty()
                && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase());
            (is_name && (said.contains(" = ") || said.starts_with('['))).then_some(said)
        });
        said.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_example_and_the_help_have_every_setting_and_its_default() {
        let example = example();
        let table: toml::Table = example.parse().unwrap();
        let names = table.keys().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(names.len(), NAMES.len(), "{names:?}");
        let limits_told = table["limits"].as_table().unwrap();
        assert_eq!(limits_told.len(), limits::NAMES.len(), "{limits_told:?}");
        let mut parsed = file::parse(&example).unwrap();
        parsed.limits.retain(|(name, _)| name != "longest_hold");
        let mut wanted = Limits::default();
        for (name, value) in &parsed.limits {
            limits::set(&mut wanted, name, value).unwrap();
        }
        assert_eq!(wanted, Limits::default());
        assert_eq!(parsed.lease, Some(Limits::default().lease));
        assert_eq!(parsed.log_level, Some(Least::default()));
        assert_eq!(parsed.listen, [Address::Unix(None)]);

        let help = crate::args::help_of("serve");
        let commented = include_str!("../../../deploy/locks.toml");
        for name in NAMES {
            assert!(table.contains_key(name), "{name} is not in the example");
            let flag = if name == "limits" {
                "--limit".to_owned()
            } else {
                format!("--{}", name.replace('_', "-"))
            };
            assert!(help.contains(&flag), "{flag} is not in the help");
            let variable = format!("{VARIABLE}{}", name.to_ascii_uppercase());
            assert!(help.contains(&variable), "{variable} is not in the help");
            assert!(
                name == "limits" || help.contains(&format!("{name} = ")),
                "{name} is not in the help"
            );
        }
        let defaults = format!("{:?}", Limits::default());
        let help = help.split_once("Limits:").unwrap().1;
        for name in limits::NAMES {
            assert!(limits_told.contains_key(name), "{name} is not in the example");
            let names =
                |line: &str| line.trim_start().split("  ").next().unwrap_or_default().to_owned();
            let line = help.lines().find(|line| names(line).split(", ").any(|word| word == name));
            let line = line.unwrap_or_else(|| panic!("{name} is not in the help"));
            let value = defaults.split(&format!("{name}: ")).nth(1).unwrap();
            let value = value.split([',', ' ']).next().unwrap();
            let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
            let near = help.split(line).nth(1).unwrap().lines().take(2).collect::<String>();
            assert!(
                !is_number || format!("{line}{near}").contains(value),
                "{name}: {value}, and not {line}{near}"
            );
        }
        // Each is explained: a comment stands before it, or before the one that it stands with.
        let lines = commented.lines().collect::<Vec<_>>();
        for (at, line) in lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.starts_with('#') && !line.starts_with("# "))
        {
            let before = lines[..at].iter().rev().take_while(|line| line.starts_with('#'));
            assert!(
                before.clone().any(|line| line.starts_with("# ")) || line.len() == 1,
                "{line} is not explained"
            );
        }
    }
}
