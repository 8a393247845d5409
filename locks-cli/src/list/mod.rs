//! `locks ls`: who holds what, and who waits.

pub(crate) mod json;
pub(crate) mod person;
pub(crate) mod select;
mod table;

use std::io::IsTerminal;
use std::thread;

use locks::LockInfo;
use locks::backend::Query;

use crate::args::ListArgs;
use crate::out;
use crate::status::{Failure, Status};

/// Home, and everything below it cleared.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// Shows what is held and waited for, once or again and again.
pub(crate) fn list(asked: &ListArgs) -> Result<Status, Failure> {
    let backend = asked.backend.look()?.backend;
    let chosen =
        |locks: Vec<LockInfo>| asked.selection.of(&locks).into_iter().cloned().collect::<Vec<_>>();
    let query = || asked.prefix.clone().map_or(Query::All, Query::Prefix);
    let on_terminal = std::io::stdout().is_terminal();
    let Some(pause) = asked.watch else {
        let locks = chosen(backend.inspect(query()).block()?);
        let text = match asked.json {
            true => json::pretty(&locks),
            false => table::table(&locks, width(on_terminal)),
        };
        return out::print(&text).map(|()| Status::Done);
    };
    loop {
        let locks = chosen(backend.inspect(query()).block()?);
        let text = match (asked.json, on_terminal) {
            (true, _) => json::line(&locks),
            (false, true) => format!("{CLEAR}{}", table::table(&locks, width(true))),
            (false, false) => format!("{}\n", table::table(&locks, None)),
        };
        if !out::print_on(&text)? {
            return Ok(Status::Done);
        }
        // Ctrl-C ends the process, wherever it is: nothing has to be put back.
        thread::sleep(pause);
    }
}

/// How many columns a line has, where it is worth cutting.
fn width(on_terminal: bool) -> Option<usize> {
    let size = on_terminal.then(|| rustix::termios::tcgetwinsize(std::io::stdout()).ok())??;
    Some(usize::from(size.ws_col)).filter(|columns| *columns >= 40)
}
