//! `locks release`, `locks clean` and `locks ping`.

use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use locks::Token;

use super::text;
use crate::backend_choice::BackendChoice;
use crate::status::Failure;

/// A hold to be ended.
#[derive(Debug)]
pub(crate) struct ReleaseArgs {
    pub(crate) backend: BackendChoice,
    pub(crate) key: String,
    /// Only this hold; otherwise all of the key.
    pub(crate) token: Option<Token>,
    pub(crate) json: bool,
}

/// Leftovers to be removed.
#[derive(Debug)]
pub(crate) struct CleanArgs {
    pub(crate) backend: BackendChoice,
    pub(crate) older_than: Duration,
    pub(crate) json: bool,
}

/// A backend to be tried.
#[derive(Debug)]
pub(crate) struct PingArgs {
    pub(crate) backend: BackendChoice,
    pub(crate) json: bool,
}

pub(super) fn release() -> Command {
    Command::new("release")
        .about("Takes a lock away from whoever holds it")
        .after_long_help(text::help(text::RELEASE))
        .arg(Arg::new("key").value_name("KEY").required(true).help("The key, exactly"))
        .arg(
            Arg::new("token")
                .long("token")
                .value_name("N")
                .value_parser(value_parser!(u64))
                .help("Only the hold with this token; default: every hold of the key"),
        )
        .arg(super::json())
        .arg(super::backend())
}

pub(super) fn clean() -> Command {
    Command::new("clean")
        .about("Removes the lock files that nobody has used for a while")
        .after_long_help(text::help(text::CLEAN))
        .arg(
            Arg::new("older-than")
                .long("older-than")
                .value_name("DURATION")
                .default_value("1d")
                .value_parser(super::lasting())
                .help("Only those that have not been used for this long"),
        )
        .arg(super::json())
        .arg(super::backend())
}

pub(super) fn ping() -> Command {
    Command::new("ping")
        .about("Tries the backend, and says what it can do, and who serves")
        .after_long_help(text::help(text::PING))
        .arg(super::json())
        .arg(super::backend())
}

impl ReleaseArgs {
    pub(super) fn read(matches: &mut ArgMatches) -> Result<Self, Failure> {
        Ok(Self {
            backend: super::backend_choice(matches)?,
            key: matches.remove_one("key").expect("required"),
            token: matches.remove_one("token").map(Token::new),
            json: matches.get_flag("json"),
        })
    }
}

impl CleanArgs {
    pub(super) fn read(matches: &mut ArgMatches) -> Result<Self, Failure> {
        Ok(Self {
            backend: super::backend_choice(matches)?,
            older_than: matches.remove_one("older-than").expect("it has a default"),
            json: matches.get_flag("json"),
        })
    }
}

impl PingArgs {
    pub(super) fn read(matches: &mut ArgMatches) -> Result<Self, Failure> {
        Ok(Self { backend: super::backend_choice(matches)?, json: matches.get_flag("json") })
    }
}
