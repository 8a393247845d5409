//! Other processes: this executable once more, told by its environment what to be.

use std::env;
use std::process::Command;

use crate::means;

const PROGRAM: &str = "LOCKS_NET_PROGRAM";

/// What a process can be told to be.
const PROGRAMS: [(&str, fn()); 7] = [
    ("kit", crate::conformance::serve_the_kit),
    ("peer", crate::commands::serve),
    ("server", crate::place::serve),
    ("host", crate::place::host),
    ("single", crate::exhausted::single),
    ("parent", crate::forks::parent),
    ("worker", crate::torture::work),
];

/// A process that is `name`.
pub(crate) fn program(name: &str) -> Command {
    let [executable, arguments @ ..] = command_line();
    let mut command = Command::new(executable);
    command.args(arguments).env(PROGRAM, name);
    command
}

/// A process that is `name` once the shell has run `script`.
pub(crate) fn program_after(name: &str, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-ec", &format!("{script}\nexec \"$@\""), "sh"]);
    command.args(command_line()).env(PROGRAM, name);
    command
}

/// A process that is `name`, started by another command.
pub(crate) fn program_by(name: &str, by: &[&str]) -> Command {
    let [first, rest @ ..] = by else { return program(name) };
    let mut command = Command::new(first);
    command.args(rest).args(command_line()).env(PROGRAM, name);
    command
}

/// A process that is `name` in namespaces of its own, if these options of `unshare` say so.
pub(crate) fn program_in(name: &str, unshare: &[&str]) -> Command {
    let words = if unshare.is_empty() { Vec::new() } else { means::unshare(unshare) };
    program_by(name, &Vec::from_iter(words.iter().map(String::as_str)))
}

/// What starts this executable as a program.
fn command_line() -> [String; 4] {
    let executable = env::current_exe().expect("it is on a disk");
    let executable = executable.into_os_string().into_string().expect("cargo's names are text");
    let test = "program::is_what_it_is_told_to_be".to_owned();
    [executable, "--exact".to_owned(), test, "--nocapture".to_owned()]
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
