//! `locks run`.

use std::ffi::OsString;
use std::time::Duration;

use clap::builder::OsStringValueParser;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use locks::{Mode, Options, Wait};

use super::text;
use crate::place::Place;
use crate::status::{CONFLICT, Failure};

/// A command to be run under a lock.
#[derive(Debug)]
pub(crate) struct RunArgs {
    pub(crate) keys: Vec<String>,
    /// The command and its arguments; not empty.
    pub(crate) command: Vec<OsString>,
    pub(crate) options: Options,
    pub(crate) place: Place,
    /// The status when somebody else has the lock.
    pub(crate) conflict: u8,
    /// How long before the end of the lock the command is asked to end.
    pub(crate) kill_after: Duration,
    /// What the holder is called, beside the command's name.
    pub(crate) label: Option<String>,
    /// Not a word when somebody else has the lock.
    pub(crate) quiet: bool,
}

pub(super) fn command() -> Command {
    let wait = [
        flag("wait").help("Wait until the lock is free: the default"),
        flag("no-wait").short('n').help("Do not wait: give up at once if somebody else has it"),
        duration("timeout").short('w').help("Wait at most this long"),
    ];
    let how = [
        flag("shared").short('s').help("Share the lock with others that ask for it shared"),
        Arg::new("permits")
            .long("permits")
            .value_name("N")
            .value_parser(value_parser!(u32).range(1..))
            .conflicts_with("shared")
            .help("Let up to N hold the lock at a time; the same N for all who use the key"),
        flag("fair").help("Overtake nobody who waits already"),
        duration("steal-after").help("Take the lock from a holder that has had it for longer than this"),
        duration("hold-at-least").help("Keep the lock for at least this long, also if the command ends sooner"),
        duration("hold-at-most").help("Give the lock up after this long, and end the command before that"),
        duration("kill-after")
            .requires("hold-at-most")
            .help("How long before that the command gets TERM; KILL follows [default: a tenth, at most 5s]"),
        duration("lease").help("How long the lock outlives a holder that has gone silent, where holders are not watched"),
    ];
    let rest = [
        Arg::new("conflict")
            .short('E')
            .long("conflict-exit-code")
            .value_name("CODE")
            .value_parser(value_parser!(u8))
            .help(format!("The exit status when somebody else has the lock [default: {CONFLICT}]")),
        flag("quiet").short('q').help("Say nothing when somebody else has the lock"),
        Arg::new("label")
            .long("label")
            .value_name("TEXT")
            .help("What to call this holder in lists and errors, beside the command's name"),
        super::backend(),
    ];
    Command::new("run")
        .about("Runs a command while it holds a lock")
        .long_about(text::RUN_ABOUT)
        .override_usage("locks run [OPTIONS] KEY… -- COMMAND [ARGUMENT]…")
        .after_long_help(text::help(text::RUN))
        .args(wait)
        .group(ArgGroup::new("waiting").args(["wait", "no-wait", "timeout"]))
        .args(how)
        .args(rest)
        .arg(
            Arg::new("keys")
                .value_name("KEY")
                .num_args(1..)
                .required(true)
                .help("The name of the lock; several are taken together, all or none"),
        )
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
    pub(super) fn read(matches: &mut ArgMatches) -> Result<Self, Failure> {
        let mut options = Options::default();
        options.wait = if matches.get_flag("no-wait") {
            Some(Wait::No)
        } else if matches.get_flag("wait") {
            Some(Wait::Forever)
        } else {
            // Without a word, what the URL says; without that, for ever.
            matches.remove_one("timeout").map(Wait::AtMost)
        };
        options.mode = match matches.remove_one("permits") {
            Some(of) => Mode::Permit { of },
            None if matches.get_flag("shared") => Mode::Shared,
            None => Mode::Exclusive,
        };
        options.fair = matches.get_flag("fair").then_some(true);
        options.steal_after = matches.remove_one("steal-after");
        options.hold_at_least = matches.remove_one("hold-at-least");
        options.hold_at_most = matches.remove_one("hold-at-most");
        options.lease = matches.remove_one("lease");
        Ok(Self {
            keys: matches.remove_many("keys").expect("required").collect(),
            command: matches.remove_many("command").expect("required").collect(),
            kill_after: kill_after(matches.remove_one("kill-after"), options.hold_at_most)?,
            options,
            place: super::place(matches)?,
            label: matches.remove_one("label"),
            conflict: matches.remove_one("conflict").unwrap_or(CONFLICT),
            quiet: matches.get_flag("quiet"),
        })
    }
}

fn kill_after(given: Option<Duration>, most: Option<Duration>) -> Result<Duration, Failure> {
    const LONGEST: Duration = Duration::from_secs(5);
    match (given, most) {
        (Some(given), Some(most)) if given >= most => Err(Failure::new(
            "`--kill-after` is no shorter than `--hold-at-most`: the command would be ended before \
             it begins",
        )),
        (Some(given), _) => Ok(given),
        (None, Some(most)) => Ok(LONGEST.min(most / 10)),
        (None, None) => Ok(LONGEST),
    }
}

fn flag(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}

fn duration(name: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("DURATION").value_parser(super::lasting())
}
