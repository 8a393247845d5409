//! One of the processes that hand a lock to and fro: this program, started by itself.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use super::board::Board;
use super::contestant::Who;
use crate::rows::latencies::{Turn, hold, now};

/// The first argument of such a process.
pub(crate) const COMMAND: &str = "take-turns";

/// What a process is told, in the order of its arguments.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) board: PathBuf,
    /// Which of them it is, from 0.
    pub(super) process: u64,
    pub(super) processes: u64,
    /// How many grants there are to be, for all together.
    pub(super) grants: u64,
    /// The longest of its holds, which it draws by lot.
    pub(super) hold: Duration,
}

impl Part {
    pub(super) fn arguments(&self) -> [String; 5] {
        let board = self.board.to_str().expect("the path of the board is text");
        let hold = self.hold.as_micros();
        [
            board.to_owned(),
            self.process.to_string(),
            self.processes.to_string(),
            self.grants.to_string(),
            hold.to_string(),
        ]
    }

    fn parse(arguments: &[String]) -> Option<Self> {
        let [board, process, processes, grants, hold] = arguments else { return None };
        Some(Self {
            board: board.into(),
            process: process.parse().ok()?,
            processes: processes.parse().ok()?,
            grants: grants.parse().ok()?,
            hold: Duration::from_micros(hold.parse().ok()?),
        })
    }
}

/// Takes turns as `arguments` say, and prints when each turn was granted and released.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    match run(arguments) {
        Ok(turns) => {
            print(&turns);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("a process that takes turns: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> io::Result<Vec<Turn>> {
    let wrong = || io::Error::other("only this program itself starts it with these arguments");
    let [who, directory, part @ ..] = arguments else { return Err(wrong()) };
    let part = Part::parse(part).ok_or_else(wrong)?;
    let (who, _) = Who::ALL.into_iter().find(|(_, name)| name == who).ok_or_else(wrong)?;
    take_turns(who, Path::new(directory), &part)
}

fn take_turns(who: Who, directory: &Path, part: &Part) -> io::Result<Vec<Turn>> {
    let board = Board::open(&part.board, part.processes)?;
    let mut lock = who.open(directory)?;
    let mut dice = part.process + 1;
    let mut turns = Vec::new();
    loop {
        board.says_it_asks(part.process)?;
        lock.take()?;
        let granted = now();
        let grants = board.says_it_was_granted(part.process)?;
        if grants > part.grants {
            board.says_it_goes(part.process)?;
            lock.give()?;
            return Ok(turns);
        }
        // A hand-over is to somebody who waits, and has done so for long enough to be asleep.
        board.until_others_wait(part.process)?;
        thread::sleep(hold(part.hold, &mut dice));
        let released = now();
        lock.give()?;
        turns.push((granted, released));
        board.until_granted_again(grants)?;
    }
}

#[expect(clippy::print_stdout, reason = "the process that started it reads it")]
fn print(turns: &[Turn]) {
    for (granted, released) in turns {
        println!("{granted} {released}");
    }
}
