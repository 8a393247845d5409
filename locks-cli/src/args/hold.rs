//! `locks hold`.

use clap::{Arg, ArgMatches, Command, value_parser};
use rustix::process::Signal;

use super::lock::{self, LockArgs, Under};
use super::text;
use crate::status::Failure;

/// A lock to be held for another process.
#[derive(Debug)]
pub(crate) struct HoldArgs {
    pub(crate) lock: LockArgs,
    /// The process that it is held for; otherwise whoever has started this one.
    pub(crate) pid: Option<i32>,
    /// What it is sent when the lock is lost.
    pub(crate) signal: Signal,
    pub(crate) json: bool,
}

const UNDER: Under = Under { what: "the script", ends: "signal", hears: "gets its signal" };

pub(super) fn command() -> Command {
    let command = Command::new("hold")
        .about("Holds a lock for the rest of a shell script")
        .long_about(text::HOLD_ABOUT)
        .override_usage("locks hold [OPTIONS] KEY…")
        .after_long_help(text::help(text::HOLD));
    lock::arguments(command, &UNDER)
        .arg(
            Arg::new("pid")
                .long("pid")
                .value_name("PID")
                .value_parser(value_parser!(i32).range(1..))
                .help("Hold it for this process, and until it ends; default: for whoever calls"),
        )
        .arg(
            Arg::new("signal")
                .long("signal")
                .value_name("NAME")
                .value_parser(signal())
                .help("What that process is sent when the lock is lost: TERM (the default), KILL, HUP, INT, QUIT, USR1 or USR2"),
        )
        .arg(super::json())
}

impl HoldArgs {
    pub(super) fn read(
        matches: &mut ArgMatches,
        like_options: Vec<String>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            lock: LockArgs::read(matches, like_options)?,
            pid: matches.remove_one("pid"),
            signal: matches.remove_one("signal").unwrap_or(Signal::TERM),
            json: matches.get_flag("json"),
        })
    }
}

fn signal() -> clap::builder::ValueParser {
    clap::builder::ValueParser::new(|text: &str| -> Result<Signal, String> {
        match text.strip_prefix("SIG").unwrap_or(text) {
            "TERM" => Ok(Signal::TERM),
            "KILL" => Ok(Signal::KILL),
            "HUP" => Ok(Signal::HUP),
            "INT" => Ok(Signal::INT),
            "QUIT" => Ok(Signal::QUIT),
            "USR1" => Ok(Signal::USR1),
            "USR2" => Ok(Signal::USR2),
            _ => Err("it is TERM, KILL, HUP, INT, QUIT, USR1 or USR2".to_owned()),
        }
    })
}
