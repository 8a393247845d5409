//! Children that are forked without `exec` (C4, row 36): daemons, and servers that fork their
//! workers.

mod orphans;
mod scenes;

use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use locks_file::FileBackend;

pub(crate) use self::orphans::{fork_a_sleeper, lock_a_file};
use self::scenes::{
    a_busy_parent_is_forked, a_daemon_closes_all_that_it_has_inherited,
    a_file_that_the_parent_waits_for, a_worker_is_locked_in, files_of_ones_own,
    guards_of_the_parent_are_lost, limits_of_the_child_hold, the_child_acquires_anew,
    what_the_parent_waits_for_is_the_parents,
};
use crate::directory::{Directory, PATIENCE, tell_directory, told_directory};
use crate::program::program;

const SCENE: &str = "LOCKS_FILE_SCENE";

/// What is played by the program, with a backend that was opened before.
type Scene = fn(&FileBackend);

const SCENES: [(&str, Scene); 9] = [
    ("lost", guards_of_the_parent_are_lost),
    ("anew", the_child_acquires_anew),
    ("limits", limits_of_the_child_hold),
    ("busy", a_busy_parent_is_forked),
    ("daemon", a_daemon_closes_all_that_it_has_inherited),
    ("pending", what_the_parent_waits_for_is_the_parents),
    ("chroot", a_worker_is_locked_in),
    ("path", files_of_ones_own),
    ("path pending", a_file_that_the_parent_waits_for),
];

#[track_caller]
fn play(scene: &str) {
    let directory = Directory::new();
    let mut command = program("forked");
    tell_directory(&mut command, directory.path()).env(SCENE, scene);
    let mut process = command.stdin(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = process.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE {
            process.kill().unwrap();
            process.wait().unwrap();
            panic!("row 36: `{scene}` hangs");
        }
        thread::park_timeout(Duration::from_millis(5));
    };
    assert!(status.success(), "row 36: `{scene}`: {status}");
}

/// The program.
pub(crate) fn play_told() {
    let told = std::env::var(SCENE).unwrap();
    let files = FileBackend::new(told_directory()).unwrap();
    let (_, scene) = SCENES.iter().find(|(name, _)| *name == told).unwrap();
    scene(&files);
}

#[test]
fn row_36_guards_of_the_parent_are_lost_in_the_child() {
    play("lost");
}

#[test]
fn row_36_the_child_acquires_anew() {
    play("anew");
}

#[test]
fn row_36_limits_of_the_child_hold() {
    play("limits");
}

#[test]
fn row_36_a_child_of_a_busy_parent_does_not_hang() {
    play("busy");
}

#[test]
fn row_36_a_daemon_closes_nothing_but_locks() {
    play("daemon");
}

#[test]
fn row_36_what_the_parent_waits_for_is_the_parents() {
    play("pending");
}

#[test]
fn row_36_a_worker_in_another_root_acquires() {
    play("chroot");
}

#[test]
fn row_36_files_of_ones_own() {
    play("path");
}

#[test]
fn row_36_a_file_that_the_parent_waits_for_is_waited_for_by_the_parent() {
    play("path pending");
}
