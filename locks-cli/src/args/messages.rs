//! `locks publish` and `locks messages`.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::text;
use crate::backend_choice::BackendChoice;
use crate::status::Failure;

/// A message to be published.
#[derive(Debug)]
pub(crate) struct PublishArgs {
    pub(crate) backend: BackendChoice,
    /// Names; none for all.
    pub(crate) to: Vec<String>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) unique: bool,
    pub(crate) replace: bool,
    pub(crate) subject: String,
    /// `-` for standard input.
    pub(crate) content: String,
    pub(crate) json: bool,
}

/// Messages to be printed.
#[derive(Debug)]
pub(crate) struct MessagesArgs {
    pub(crate) backend: BackendChoice,
    pub(crate) name: Option<String>,
    pub(crate) count: Option<u64>,
    /// How long to wait for one.
    pub(crate) timeout: Option<Duration>,
    pub(crate) json: bool,
}

fn timeout() -> Arg {
    Arg::new("timeout").long("timeout").value_name("DURATION").value_parser(super::lasting())
}

pub(super) fn publish() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new("publish")
        .about("Publishes a message to other clients of a lock server")
        .after_long_help(text::help(text::PUBLISH))
        .arg(Arg::new("subject").value_name("SUBJECT").required(true).help("What it is about"))
        .arg(
            Arg::new("content")
                .value_name("CONTENT")
                .default_value("")
                .help("What it says; `-` for standard input"),
        )
        .arg(Arg::new("to").long("to").value_name("NAME").action(ArgAction::Append).help(
            "A client that is to have it, by its label; several times for several; default: all",
        ))
        .arg(timeout().help("How long whoever gets it keeps it, unless it takes it before"))
        .arg(
            flag("unique")
                .conflicts_with("replace")
                .help("Not to those who have a message with this subject"),
        )
        .arg(flag("replace").help("In place of those with this subject that they have"))
        .arg(super::json())
        .arg(super::backend())
}

pub(super) fn messages() -> Command {
    Command::new("messages")
        .about("Prints the messages that other clients of a lock server publish")
        .after_long_help(text::help(text::MESSAGES))
        .arg(
            Arg::new("name")
                .long("name")
                .value_name("NAME")
                .help("What this client is called; default: `locks`"),
        )
        .arg(
            Arg::new("count")
                .long("count")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("Ends after so many"),
        )
        .arg(timeout().help("Ends when none has come for so long"))
        .arg(super::json())
        .arg(super::backend())
}

impl PublishArgs {
    pub(super) fn read(matches: &mut ArgMatches) -> Result<Self, Failure> {
        Ok(Self {
            backend: super::backend_choice(matches)?,
            to: matches.remove_many("to").into_iter().flatten().collect(),
            timeout: matches.remove_one("timeout"),
            unique: matches.get_flag("unique"),
            replace: matches.get_flag("replace"),
            subject: matches.remove_one("subject").expect("required"),
            content: matches.remove_one("content").expect("it has a default"),
            json: matches.get_flag("json"),
        })
    }
}

impl MessagesArgs {
    pub(super) fn read(matches: &mut ArgMatches) -> Result<Self, Failure> {
        Ok(Self {
            backend: super::backend_choice(matches)?,
            name: matches.remove_one("name"),
            count: matches.remove_one("count"),
            timeout: matches.remove_one("timeout"),
            json: matches.get_flag("json"),
        })
    }
}
