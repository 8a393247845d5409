//! `locks run`.

use std::ffi::OsString;

use clap::builder::OsStringValueParser;
use clap::{Arg, ArgMatches, Command};

use super::lock::{self, LockArgs, Under};
use super::text;
use crate::status::Failure;

/// A command to be run under a lock.
#[derive(Debug)]
pub(crate) struct RunArgs {
    pub(crate) lock: LockArgs,
    /// The command and its arguments; not empty.
    pub(crate) command: Vec<OsString>,
    /// Whether the command takes the place of this process.
    pub(crate) no_fork: bool,
}

const UNDER: Under = Under { what: "the command", ends: "end", hears: "gets TERM; KILL follows" };

pub(super) fn command() -> Command {
    let command = Command::new("run")
        .about("Runs a command while it holds a lock")
        .long_about(text::RUN_ABOUT)
        .override_usage("locks run [OPTIONS] KEY… -- COMMAND [ARGUMENT]…")
        .after_long_help(text::help(text::RUN));
    lock::arguments(command, &UNDER)
        .arg(lock::flag("hand-over").help(
            "Let the command enter the lock too: a `locks run` within that asks for the same keys, and programs by LOCKS_OWNER",
        ))
        .arg(lock::flag("no-fork").conflicts_with_all(["kill-after", "hand-over"]).help(
            "Have the command take the place of `locks run`, and the lock with it: for `file:`",
        ))
        .arg(
            Arg::new("command")
                .value_name("COMMAND")
                .num_args(1..)
                .required(true)
                .last(true)
                .value_parser(OsStringValueParser::new())
                .help("The command and its arguments, behind `--`"),
        )
}

impl RunArgs {
    pub(super) fn read(
        matches: &mut ArgMatches,
        like_options: Vec<String>,
    ) -> Result<Self, Failure> {
        let mut lock = LockArgs::read(matches, like_options)?;
        lock.hand_over = matches.get_flag("hand-over");
        Ok(Self {
            lock,
            command: matches.remove_many("command").expect("required").collect(),
            no_fork: matches.get_flag("no-fork"),
        })
    }
}
