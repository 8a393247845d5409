//! Other processes: this executable once more, told by its environment what to be.

use std::env;
use std::process::Command;

const PROGRAM: &str = "LOCKS_NET_PROGRAM";

/// What a process can be told to be.
const PROGRAMS: [(&str, fn()); 1] = [("holder", crate::faults::hold)];

/// A process that is `name`.
pub(crate) fn program(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("it is on a disk"));
    command.args(["--exact", "program::is_what_it_is_told_to_be", "--nocapture"]);
    command.env(PROGRAM, name);
    command
}

/// Not a test but the other processes; by itself it does nothing.
#[test]
fn is_what_it_is_told_to_be() {
    if let Ok(told) = env::var(PROGRAM) {
        let found = PROGRAMS.iter().find(|(name, _)| *name == told);
        let (_, run) = found.unwrap_or_else(|| panic!("there is no program `{told}`"));
        run();
    }
}
