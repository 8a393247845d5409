//! Other processes: this executable once more, told by its environment what to be.

use std::env;
use std::process::Command;

use crate::means;

const PROGRAM: &str = "LOCKS_FILE_PROGRAM";

/// What a process can be told to be.
const PROGRAMS: [(&str, fn()); 9] = [
    ("nothing", || ()),
    ("kit", crate::conformance::serve_the_kit),
    ("peer", crate::commands::serve),
    ("forked", crate::forked::play_told),
    ("forks", crate::crashes::drop_a_guard_in_a_forked_child),
    ("places", crate::places::try_once),
    ("leaks", crate::leaks::acquire_again_and_again),
    ("worker", crate::torture::programs::work),
    ("cleaner", crate::torture::programs::clean),
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
    program_under(name, &[], script)
}

/// The same, with the shell started by `unshare` with these options: in namespaces of its own.
pub(crate) fn program_under(name: &str, unshare: &[&str], script: &str) -> Command {
    let script = format!("{script}\nexec \"$@\"");
    let mut words = if unshare.is_empty() { Vec::new() } else { means::unshare(unshare) };
    words.extend(["sh", "-ec", &script, "sh"].map(str::to_owned));
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(command_line()).env(PROGRAM, name);
    command
}

/// Whether namespaces like these can be had, and `script` be run in them; otherwise as
/// [`means::lacks`].
#[track_caller]
pub(crate) fn can_unshare(unshare: &[&str], script: &str) -> bool {
    means::can_run_in_namespaces(&mut program_under("nothing", unshare, script))
}

/// What starts this executable as a program.
pub(crate) fn command_line() -> [String; 4] {
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
