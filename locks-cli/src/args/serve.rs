//! `locks serve` and `locks secret`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::text;

/// A server to be run. What its settings say is read where the other sources of them are.
#[derive(Debug)]
pub(crate) struct ServeArgs {
    /// Names of settings, with what the flags of that name say.
    pub(crate) said: Vec<(&'static str, Vec<String>)>,
    pub(crate) config: Option<PathBuf>,
    /// The descriptor that is written to when the server listens.
    pub(crate) ready_fd: Option<u32>,
    pub(crate) json: bool,
}

/// A secret to be made.
#[derive(Debug)]
pub(crate) struct SecretArgs {
    pub(crate) out: Option<PathBuf>,
    /// Whose it is.
    pub(crate) name: Option<String>,
    pub(crate) json: bool,
}

/// The flags that are settings as well: the setting's name and the flag's.
const SETTINGS: [(&str, &str); 15] = [
    ("listen", "listen"),
    ("secret_file", "secret-file"),
    ("clients", "clients"),
    ("cert", "cert"),
    ("key", "key"),
    ("client_ca", "client-ca"),
    ("state", "state"),
    ("allow_user", "allow-user"),
    ("lease", "lease"),
    ("limits", "limit"),
    ("log", "log"),
    ("log_level", "log-level"),
    ("http", "http"),
    ("http_token_file", "http-token-file"),
    ("http_host", "http-host"),
];

pub(super) fn serve() -> Command {
    let setting = |name: &'static str, value: &'static str| {
        Arg::new(name).long(name).value_name(value).action(ArgAction::Append)
    };
    let once =
        |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    Command::new("serve")
        .about("Serves locks to the processes that connect")
        .long_about(text::SERVE_ABOUT)
        .after_long_help(text::help(text::SERVE))
        .arg(setting("listen", "ADDRESS").help(
            "Where: `unix:/path`, `tcp:127.0.0.1:7420` for this machine, `tcp:0.0.0.0:7420` for others too; several \
             times for several; default: `unix:`, the user's own socket",
        ))
        .arg(once("secret-file", "PATH").help(
            "The file with the secret that clients on TCP have to know; default: what LOCKS_SECRET says",
        ))
        .arg(once("clients", "FILE").help(
            "A file with clients on TCP by name, in TOML: secrets, certificates, and what each may do; see below",
        ))
        .arg(once("cert", "FILE").help(
            "The server's certificate on TCP, in PEM; default: one that it makes and keeps, which needs no \
             authority",
        ))
        .arg(once("key", "FILE").help("The private key of that certificate, in PEM"))
        .arg(once("client-ca", "FILE").help(
            "Certificates of authorities, in PEM: clients on TCP that have one of theirs need no secret",
        ))
        .arg(once("state", "DIR").help(
            "The directory of the journal and the tokens, with which a restart loses nothing; default: \
             the user's own",
        ))
        .arg(setting("allow-user", "UID").help(
            "Lets another user of this machine in, by number; several times for several",
        ))
        .arg(once("lease", "DURATION").help(
            "How long a client that has gone silent keeps its locks, unless it asks for another time \
             [default: 10s]",
        ))
        .arg(setting("limit", "NAME=VALUE").help("What clients may have; see below for the names"))
        .arg(once("log", "FILE").help(
            "Where lines about starts, refusals, limits and trouble go, at the end of what is there; HUP opens it \
             anew; default: standard error",
        ))
        .arg(once("log-level", "LEVEL").help(
            "Which lines there are: `off`, `error`, `warn` or `info` [default: what RUST_LOG says, else info]",
        ))
        .arg(once("http", "ADDRESS").help(
            "Where a page and `/metrics` show what goes on, as in `127.0.0.1:7421`; default: nowhere",
        ))
        .arg(once("http-token-file", "PATH").help(
            "The file with the token that the page takes, made if it is missing; default: `http.token` in the \
             directory of `--state`",
        ))
        .arg(setting("http-host", "NAME").help(
            "A name by which the page may be called, beside those of this machine; several times for several",
        ))
        .arg(
            once("config", "FILE")
                .value_parser(value_parser!(PathBuf))
                .help("A file with settings, in TOML; see below"),
        )
        .arg(
            once("ready-fd", "N")
                .value_parser(value_parser!(u32))
                .help("Writes a newline to this descriptor once it listens"),
        )
        .arg(super::json())
}

pub(super) fn secret() -> Command {
    Command::new("secret")
        .about("Makes a secret, for a server on TCP and its clients")
        .after_long_help(text::help(text::SECRET))
        .arg(
            Arg::new("out")
                .long("out")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help(
                    "Writes it to this new file, which only its user can read; default: prints it",
                ),
        )
        .arg(
            Arg::new("name")
                .long("name")
                .value_name("NAME")
                .help("Whose it is, for a server with several clients (`locks serve --clients`)"),
        )
        .arg(super::json())
}

impl ServeArgs {
    pub(super) fn read(matches: &mut ArgMatches) -> Self {
        let said = SETTINGS.into_iter().filter_map(|(setting, flag)| {
            Some((setting, matches.remove_many::<String>(flag)?.collect()))
        });
        Self {
            said: said.collect(),
            config: matches.remove_one("config"),
            ready_fd: matches.remove_one("ready-fd"),
            json: matches.get_flag("json"),
        }
    }
}

impl SecretArgs {
    pub(super) fn read(matches: &mut ArgMatches) -> Self {
        Self {
            out: matches.remove_one("out"),
            name: matches.remove_one("name"),
            json: matches.get_flag("json"),
        }
    }
}
