//! `locks ls`.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::text;
use crate::backend_choice::BackendChoice;
use crate::list::select::{Selection, Sort, State};
use crate::status::Failure;

/// Locks to be shown.
#[derive(Debug)]
pub(crate) struct ListArgs {
    pub(crate) backend: BackendChoice,
    /// What the keys begin with; nothing for all.
    pub(crate) prefix: Option<String>,
    pub(crate) selection: Selection,
    pub(crate) json: bool,
    /// Again and again, after this long.
    pub(crate) watch: Option<Duration>,
}

pub(super) fn command() -> Command {
    Command::new("ls")
        .about("Shows who holds which lock, and who waits")
        .after_long_help(text::help(text::LIST))
        .arg(Arg::new("prefix").value_name("PREFIX").help("Only keys that begin with this"))
        .arg(Arg::new("match").long("match").value_name("TEXT").help(
            "Only keys that have this in them, in any case, or of which a holder or waiter is called so, has this \
             call site or this pid",
        ))
        .arg(
            Arg::new("state")
                .long("state")
                .value_name("STATE")
                .value_parser(State::NAMES)
                .help("Only keys that are held, waited for by somebody, or reserved"),
        )
        .arg(
            Arg::new("sort")
                .long("sort")
                .value_name("BY")
                .value_parser(Sort::NAMES)
                .default_value("key")
                .help("The longest held, most waited for, longest waited for first; or by key or holder"),
        )
        .arg(
            Arg::new("reverse")
                .long("reverse")
                .action(ArgAction::SetTrue)
                .help("The other way round"),
        )
        .arg(super::json())
        .arg(
            Arg::new("watch")
                .long("watch")
                .value_name("DURATION")
                .num_args(0..=1)
                .default_missing_value("1s")
                .value_parser(super::lasting())
                .help("Again and again until Ctrl-C: every second, or as often as this says"),
        )
        .arg(super::backend())
}

impl ListArgs {
    pub(super) fn read(matches: &mut ArgMatches) -> Result<Self, Failure> {
        let watch = matches.remove_one::<Duration>("watch");
        if watch.is_some_and(|pause| pause.is_zero()) {
            return Err(Failure::new("`--watch 0s` leaves no time to look: give at least `1ms`"));
        }
        Ok(Self {
            backend: super::backend_choice(matches)?,
            prefix: matches.remove_one("prefix"),
            selection: Selection {
                text: matches.remove_one("match"),
                state: matches.remove_one::<String>("state").and_then(|name| State::parse(&name)),
                sort: Sort::parse(&matches.remove_one::<String>("sort").unwrap_or_default())
                    .unwrap_or_default(),
                reverse: matches.get_flag("reverse"),
            },
            json: matches.get_flag("json"),
            watch,
        })
    }
}
