//! `locks ls`.

use std::time::Duration;

use clap::{Arg, ArgMatches, Command};

use super::text;
use crate::place::Place;
use crate::status::Failure;

/// Locks to be shown.
#[derive(Debug)]
pub(crate) struct ListArgs {
    pub(crate) place: Place,
    /// What the keys begin with; nothing for all.
    pub(crate) prefix: Option<String>,
    pub(crate) json: bool,
    /// Again and again, after this long.
    pub(crate) watch: Option<Duration>,
}

pub(super) fn command() -> Command {
    Command::new("ls")
        .about("Shows who holds which lock, and who waits")
        .after_long_help(text::help(text::LIST))
        .arg(Arg::new("prefix").value_name("PREFIX").help("Only keys that begin with this"))
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
            place: super::place(matches)?,
            prefix: matches.remove_one("prefix"),
            json: matches.get_flag("json"),
            watch,
        })
    }
}
