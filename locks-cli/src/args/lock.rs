//! What `locks run` and `locks hold` have in common: which lock, how, and for how long.

use std::time::Duration;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use locks::{Mode, Options, Wait, duration};

use crate::backend_choice::BackendChoice;
use crate::status::{CONFLICT, Failure};

/// A lock to be held.
#[derive(Debug)]
pub(crate) struct LockArgs {
    pub(crate) keys: Vec<String>,
    pub(crate) options: Options,
    pub(crate) backend: BackendChoice,
    /// The status when somebody else has the lock.
    pub(crate) conflict: u8,
    /// How long before the end of the lock those who work under it are asked to end; `None`: as
    /// long as suits the time that the lock lasts.
    pub(crate) kill_after: Option<Duration>,
    /// What the holder is called, beside the program's name.
    pub(crate) label: Option<String>,
    /// Not a word when somebody else has the lock.
    pub(crate) quiet: bool,
    /// Whether the holder's processes are to be given what it takes to enter.
    pub(crate) hand_over: bool,
    /// Keys that would be options if they stood before the first key.
    pub(crate) like_options: Vec<String>,
}

/// What goes on under a lock, in the words of the help.
pub(super) struct Under {
    pub(super) what: &'static str,
    /// What is done to it before the lock ends.
    pub(super) ends: &'static str,
    /// How it hears of that.
    pub(super) hears: &'static str,
}

/// The arguments, added to a subcommand.
pub(super) fn arguments(command: Command, under: &Under) -> Command {
    let Under { what, ends, hears } = under;
    let wait = [
        Arg::new("wait")
            .long("wait")
            .short('w')
            .alias("timeout")
            .value_name("true|false|DURATION")
            .value_parser(waiting())
            .help("Wait until the lock is free (`true`, the default), not at all, or at most this long"),
        flag("no-wait").short('n').help("Do not wait, as by `--wait=false`: give up at once if somebody else has it"),
    ];
    let how = [
        flag("shared").short('s').help("Share the lock with others that ask for it shared"),
        Arg::new("permits")
            .long("permits")
            .value_name("N")
            .value_parser(value_parser!(u32).range(1..))
            .conflicts_with("shared")
            .help("Let up to N hold the lock at a time; each request obeys its own N"),
        Arg::new("take")
            .long("take")
            .value_name("N")
            .value_parser(value_parser!(u32).range(1..))
            .requires("permits")
            .help("Acquire N of the permits at once, all or none [default: 1]"),
        flag("fair").help("Overtake nobody who waits already"),
        duration("steal-after").help("Take the lock from a holder that has had it for longer than this"),
        duration("hold-at-least").help(format!("Keep the lock for at least this long, also if {what} ends sooner")),
        duration("hold-at-most").help(format!("Give the lock up after this long, and {ends} {what} before that")),
        duration("kill-after")
            .help(format!("How long before the end of the lock, or of its lease, {what} {hears} [default: a tenth, at most 5s]")),
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
            .help("What to call this holder in lists and errors, beside its name"),
        super::backend(),
    ];
    command
        .args(wait)
        .group(ArgGroup::new("waiting").args(["wait", "no-wait"]))
        .args(how)
        .args(rest)
        // What is given here is parsed as if it were given by `--key`.
        .arg(Arg::new("keys").value_name("KEY").num_args(0..).help(
            "The name of the lock; several are taken together, all or none. The first ends the options",
        ))
        .arg(
            Arg::new("key")
                .long("key")
                .value_name("KEY")
                .action(ArgAction::Append)
                .allow_hyphen_values(true)
                .required(true)
                .help("A key, whatever it begins with, before further options"),
        )
}

impl LockArgs {
    pub(super) fn read(
        matches: &mut ArgMatches,
        like_options: Vec<String>,
    ) -> Result<Self, Failure> {
        let mut options = Options::default();
        options.wait = if matches.get_flag("no-wait") {
            Some(Wait::Try)
        } else {
            // Without a word, what the URL says; without that, for ever.
            matches.remove_one("wait")
        };
        options.mode = match matches.remove_one("permits") {
            Some(of) => Mode::Permit { take: matches.remove_one("take").unwrap_or(1), of },
            None if matches.get_flag("shared") => Mode::Shared,
            None => Mode::Exclusive,
        };
        if let Mode::Permit { take, of } = options.mode
            && take > of
        {
            let why = format!("`--take {take}` is more than `--permits {of}`: give at most {of}");
            return Err(Failure::new(why));
        }
        options.fair = matches.get_flag("fair").then_some(true);
        options.steal_after = matches.remove_one("steal-after");
        options.hold_at_least = matches.remove_one("hold-at-least");
        options.hold_at_most = matches.remove_one("hold-at-most");
        options.lease = matches.remove_one("lease");
        Ok(Self {
            keys: matches.remove_many("key").expect("required").collect(),
            kill_after: kill_after(matches.remove_one("kill-after"), options.hold_at_most)?,
            options,
            backend: super::backend_choice(matches)?,
            label: matches.remove_one("label"),
            conflict: matches.remove_one("conflict").unwrap_or(CONFLICT),
            quiet: matches.get_flag("quiet"),
            hand_over: false,
            like_options,
        })
    }
}

fn kill_after(
    given: Option<Duration>,
    most: Option<Duration>,
) -> Result<Option<Duration>, Failure> {
    match (given, most) {
        (Some(given), Some(most)) if given >= most => Err(Failure::new(
            "`--kill-after` is no shorter than `--hold-at-most`: it would be over before it begins",
        )),
        _ => Ok(given),
    }
}

/// As the attribute has it: a truth or a duration.
fn waiting() -> ValueParser {
    ValueParser::new(duration::parse_wait)
}

pub(super) fn flag(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}

fn duration(name: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("DURATION").value_parser(super::lasting())
}
