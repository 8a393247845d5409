//! FAULTS 37: without `/proc`, and with holders in another pid namespace, over lock files that both
//! share.

use std::process::{Command, Output};

use crate::kit::{Place, Process, errors, until, words};

/// `locks` as the first process of a pid namespace of its own.
const PIDS: &[&str] =
    &["unshare", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// `locks` with nothing at `/proc`.
const NO_PROC: &[&str] = &[
    "unshare",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    "mount -t tmpfs none /proc && exec \"$0\" \"$@\"",
];

fn within(place: &Place, inside: &[&str], arguments: &[&str]) -> Command {
    let mut command = place.locks([]);
    let program = command.get_program().to_owned();
    command = Command::new(inside[0]);
    command.args(&inside[1..]).arg(program).args(arguments);
    command.current_dir(place.dir()).env("LOCKS_URL", place.url());
    command
}

fn output(place: &Place, inside: &[&str], arguments: &[&str]) -> Output {
    within(place, inside, arguments).output().unwrap()
}

const HOLD: &str =
    "echo >held.new; mv held.new held; until [ -e end ]; do sleep 0.02; done; exit 5";

/// A holder there, which ends with 5.
fn hold(place: &Place, inside: &[&str]) -> Process {
    let run = ["run", "a", "--", "sh", "-c", HOLD];
    let process = Process::start(&mut within(place, inside, &run));
    place.content("held");
    process
}

#[test]
fn row_37_without_proc_a_command_runs_and_excludes_others() {
    let place = Place::new();
    let mut process = hold(&place, NO_PROC);
    let refused = place.output(["run", "-n", "a", "--", "true"]);
    assert_eq!(refused.status.code(), Some(75), "{}", errors(&refused));
    place.touch("end");
    assert_eq!(process.until_ended().code(), Some(5));
    std::fs::remove_file(place.path("end")).unwrap();
    let _holder = place.hold(&["a"]);
    let refused = output(&place, NO_PROC, &["run", "-n", "a", "--", "true"]);
    assert_eq!(refused.status.code(), Some(75), "{}", errors(&refused));
}

#[test]
fn row_37_who_cannot_be_seen_is_listed_and_can_be_released() {
    for inside in [PIDS, NO_PROC] {
        let place = Place::new();
        let mut process = hold(&place, inside);
        let refused = place.output(["run", "-n", "a", "--", "true"]);
        assert_eq!(refused.status.code(), Some(75), "{}", errors(&refused));
        assert_eq!(place.listed()[0]["holders"].as_array().map(Vec::len), Some(1), "{inside:?}");
        let released = place.output(["release", "a"]);
        assert_eq!(released.status.code(), Some(0), "{inside:?}: {}", errors(&released));
        until("it has ended", || process.try_wait().unwrap());
        assert_eq!(place.output(["run", "-n", "a", "--", "true"]).status.code(), Some(0));
    }
}

#[test]
fn row_37_from_inside_holders_outside_are_listed_and_can_be_released() {
    for inside in [PIDS, NO_PROC] {
        let place = Place::new();
        let holder = place.hold(&["a"]);
        let listed = output(&place, inside, &["ls", "--json"]);
        let locks: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
        let holders = locks[0]["holders"].as_array().map(Vec::len);
        assert_eq!(holders, Some(1), "{inside:?}: {}", words(&listed));
        let released = output(&place, inside, &["release", "a"]);
        assert_eq!(released.status.code(), Some(0), "{inside:?}: {}", errors(&released));
        assert_eq!(holder.end().status.code(), Some(124));
    }
}

#[test]
fn row_37_who_cannot_be_seen_is_listed_as_such() {
    let place = Place::new();
    let holder = place.hold(&["a"]);
    let listed = output(&place, PIDS, &["ls", "--json", "a"]);
    let locks: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let held = &locks[0]["holders"][0];
    assert_eq!(held["unseen"], true, "{locks}");
    assert!(held["command"].is_null(), "by that number there is somebody else: {locks}");
    assert!(place.listed()[0]["holders"][0]["unseen"].is_null(), "from outside it is seen");
    drop(holder);
}

#[test]
fn row_37_twenty_readers_outlive_one_that_cannot_see_them() {
    let place = Place::new();
    let mut holders = Vec::from_iter((0..20).map(|_| place.hold(&["--shared", "a"])));
    let reader = output(&place, PIDS, &["run", "--shared", "a", "--", "sleep", "0.3"]);
    assert_eq!(reader.status.code(), Some(0), "{}", errors(&reader));
    for holder in &mut holders {
        assert!(holder.try_wait().unwrap().is_none(), "a reader was taken for dead");
    }
    assert_eq!(place.listed()[0]["holders"].as_array().map(Vec::len), Some(20));
}
