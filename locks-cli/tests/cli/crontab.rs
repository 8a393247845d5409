//! The README's line for a crontab, while a program of the user has other locks by default.

use std::fs;
use std::process::{Command, Stdio};

use crate::kit::{Place, errors, path_with_locks, until, words};

/// What the README has for a crontab: its settings, and the command without what it runs.
fn of_readme() -> (String, String) {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let block = readme.split("```text\n").find(|block| block.contains("* * * *")).unwrap();
    let lines = block.lines().take_while(|line| *line != "```").collect::<Vec<_>>();
    let (line, settings) = lines.split_last().unwrap();
    let settings = settings.iter().find(|line| line.starts_with("LOCKS_URL=")).unwrap();
    let command = line.split("* * * *").last().unwrap().split(" -- ").next().unwrap();
    ((*settings).to_owned(), command.trim().to_owned())
}

/// A program that is built with the feature `net` and chooses no backend.
#[test]
#[ignore = "another test starts it"]
fn a_program_with_locks_of_its_own() {
    let _guard = locks::named("anything").acquire().unwrap();
    fs::write("holding", "").unwrap();
    until("the test is over", || fs::exists("end").unwrap().then_some(()));
}

#[test]
fn the_line_of_the_readme_runs_beside_programs_that_have_another_backend_by_default() {
    let place = Place::new();
    let (settings, command) = of_readme();
    fs::create_dir(place.path("home")).unwrap();
    let home = place.path("home").display().to_string();
    fs::write(place.path("passwd"), format!("me:x:0:0::{home}:/bin/sh\n")).unwrap();
    let script = format!(
        "mount --bind passwd /etc/passwd || exit
         unset LOCKS_URL
         \"$0\" crontab::a_program_with_locks_of_its_own --exact --ignored >program 2>&1 &
         until [ -e holding ]; do kill -0 $! || exit; sleep 0.02; done
         locks run -n nightly -- true; echo without:$?
         export {settings}
         {command} -- echo ran; echo with:$?
         echo >end; wait"
    );
    // With a home of its own: where locks are by default is up to the user database alone.
    let mut unshare = Command::new("unshare");
    unshare.args(["--map-root-user", "--mount", "sh", "-c", &script]);
    unshare.arg(std::env::current_exe().unwrap()).current_dir(place.dir());
    let output = unshare.env("PATH", path_with_locks()).stdin(Stdio::null()).output().unwrap();
    let said = errors(&output);
    assert_eq!(words(&output), "without:125\nran\nwith:0\n", "{said}");
    assert!(said.contains("`net:` is the default backend of other processes"), "{said}");
}
