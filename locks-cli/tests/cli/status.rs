//! Exit statuses, what is said, and what the command finds around it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::Output;

use crate::kit::{Place, errors, words};

fn code(output: &Output) -> i32 {
    output.status.code().expect("it is not killed itself")
}

#[test]
fn the_status_is_that_of_the_command() {
    let place = Place::new();
    for status in [0, 1, 7, 75, 255] {
        let output = place.output(["run", "a", "--", "sh", "-c", &format!("exit {status}")]);
        assert_eq!((code(&output), errors(&output).as_str()), (status, ""), "{status}");
    }
}

#[test]
fn a_command_that_a_signal_has_ended_counts_from_128() {
    let place = Place::new();
    for (signal, status) in [("TERM", 143), ("KILL", 137), ("USR1", 138), ("SEGV", 139)] {
        let output = place.output(["run", "a", "--", "sh", "-c", &format!("kill -{signal} $$")]);
        assert_eq!((code(&output), errors(&output).as_str()), (status, ""), "{signal}");
    }
}

#[test]
fn a_command_that_is_not_there_or_no_program_is_told_apart() {
    let place = Place::new();
    place.touch("data");
    for (command, status) in
        [("no-such-command", 127), ("./none", 127), ("./data", 126), ("/", 126)]
    {
        let output = place.output(["run", "a", "--", command]);
        assert_eq!(code(&output), status, "{command}");
        let said = errors(&output);
        assert!(said.starts_with(&format!("locks: cannot run `{command}`: ")), "{said}");
    }
}

#[test]
fn a_script_without_a_first_line_runs_as_in_a_shell() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    std::fs::write(place.path("script"), "exit 9\n").unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(place.path("script"), executable).unwrap();
    assert_eq!(code(&place.output(["run", "a", "--", "./script"])), 9);
}

#[test]
fn whatever_is_wrong_with_the_arguments_or_the_backend_is_125() {
    let place = Place::new();
    for (line, expected) in [
        (&["run", "backup", "tar"][..], "write `locks run backup -- tar`"),
        (&["run", "--no-such", "a", "--", "true"], "--no-such"),
        (&["run", "", "--", "true"], "the key is empty"),
        (&["run", "--backend", "mysql:", "a", "--", "true"], "`--backend`: `mysql:` is no scheme"),
        (&["run", "--backend", "memory:", "a", "--", "true"], "no other can see"),
        (&["ls", "--backend", "memory:"], "no other can see"),
        (&["run", "--timeout", "5", "a", "--", "true"], "as in `500ms`"),
        (&["run", "--hold-at-most", "1s", "--kill-after", "1s", "a", "--", "true"], "no shorter"),
        (&["run", "--kill-after", "1s", "a", "--", "true"], "say `--hold-at-most` as well"),
        (&[], "Usage"),
    ] {
        let output = place.output(line.iter().copied());
        let said = errors(&output);
        assert_eq!((code(&output), words(&output).as_str()), (125, ""), "{line:?}: {said}");
        assert!(said.starts_with("locks: ") && said.contains(expected), "{line:?}: {said}");
    }
    let output = place.locks(["ls"]).env("LOCKS_URL", "mysql:").output().unwrap();
    assert!(errors(&output).starts_with("locks: `LOCKS_URL`: `mysql:`"), "{}", errors(&output));
    for line in [&["ls"][..], &["run", "a", "--", "true"], &["hold", "a"], &["release", "a"]] {
        let output = place.locks(line.iter().copied()).env("LOCKS_URL", "").output().unwrap();
        let said = errors(&output);
        assert!(said.starts_with("locks: `LOCKS_URL`: an empty URL names no backend"), "{said}");
        assert_eq!(code(&output), 125, "{line:?}");
    }
}

#[test]
fn what_is_wrong_is_told_in_words_of_the_command() {
    let place = Place::new();
    for (line, expected) in [
        (&["run", "--backend", "mysql:", "a", "--", "true"][..], "use `file:`, `net:`"),
        (&["run", "--backend", "/var/lock", "a", "--", "true"], "write `file://`"),
        (&["run", "--permits", "2", "a", "--", "true"], "a backend that can, such as `net:`"),
        (&["ls", "--backend", "nonsense"], "use `file:`, `net:`"),
        (&["clean", "--backend", "nonsense:"], "use `file:`, `net:`"),
    ] {
        let said = errors(&place.output(line.iter().copied()));
        assert!(said.contains(expected), "{line:?}: {said}");
        for foreign in ["memory:", "locks::", "install", "feature", "this build"] {
            assert!(!said.contains(foreign), "{line:?}: {said}");
        }
    }
}

#[test]
fn who_wants_to_hear_of_no_conflict_hears_of_faults() {
    let place = Place::new();
    let nobody = format!("unix://{}?connect=100ms", place.path("none.sock").display());
    for line in [
        &["run", "-q", "-n", "-E", "0", "--backend", &nobody, "a", "--", "true"][..],
        &["run", "-q", "-w", "10ms", "--backend", "mysql:", "a", "--", "true"],
        &["run", "-q", "-n", "a", "--", "./no-such-command"],
    ] {
        let output = place.output(line.iter().copied());
        assert!(code(&output) >= 125 && !errors(&output).is_empty(), "{line:?}: {output:?}");
    }
}

#[test]
fn help_and_version_are_no_mistakes() {
    let place = Place::new();
    for line in [&["--help"][..], &["-h"], &["--version"], &["run", "--help"], &["man"]] {
        let output = place.output(line.iter().copied());
        assert_eq!((code(&output), errors(&output).as_str()), (0, ""), "{line:?}");
        assert!(words(&output).contains("locks"), "{line:?}");
    }
}

#[test]
fn the_command_knows_its_keys_and_its_token() {
    let place = Place::new();
    let shown = |keys: &[&str]| {
        let show = ["--", "sh", "-c", "printf '%s|%s' \"$LOCKS_KEY\" \"$LOCKS_TOKEN\""];
        let output = place.output(["run"].iter().chain(keys).chain(&show).copied());
        assert_eq!(errors(&output), "");
        let text = words(&output);
        let (keys, token) = text.split_once('|').unwrap();
        (keys.to_owned(), token.parse::<u64>().unwrap())
    };
    let (key, first) = shown(&["b"]);
    assert_eq!(key, "b");
    let (keys, second) = shown(&["b", "a"]);
    assert_eq!(keys, "b\na");
    let (_, third) = shown(&["a"]);
    assert!(first < second && second < third, "C7: {first}, {second}, {third}");
}

#[test]
fn arguments_reach_the_command_as_they_are() {
    let place = Place::new();
    let odd = OsString::from_vec(b"\xff \n'\"".to_vec());
    let mut command = place.locks(["run", "a", "--", "printf", "%s|", "--", "-n", ""]);
    let output = command.arg(&odd).output().unwrap();
    assert_eq!(output.stdout, b"--|-n||\xff \n'\"|");
}

#[test]
fn c4_the_command_inherits_no_descriptor_of_the_lock() {
    let place = Place::new();
    let list = "ls -l /proc/self/fd | sed -n 's/.* -> //p' | grep -v '^/proc/' | sort";
    let bare = std::process::Command::new("sh")
        .args(["-c", list])
        .stdin(std::process::Stdio::null())
        .current_dir(place.dir())
        .output()
        .unwrap();
    let locked = place.output(["run", "a", "b", "--", "sh", "-c", list]);
    // Pipes have numbers.
    let kinds = |output: &Output| {
        let text = words(output);
        text.lines().map(|line| line.split('[').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&locked), kinds(&bare));
}

/// A key could look like another one, or like a line of the command's own.
#[test]
fn n12_no_name_begins_a_line_or_turns_one_around() {
    let key = "a\nlocks: b\u{61c}c\u{202e}d\u{1b}[2J";
    let shown = "`a\\nlocks: b\\u{61c}c\\u{202e}d\\u{1b}[2J`";
    let place = Place::new();
    let holder = place.hold(&["--label", "\u{2066}x\u{61c}", key]);
    for line in [
        &["run", "-n", key, "--", "true"][..],
        &["run", "-w", "1ms", key, "--", "true"],
        &["hold", "-n", key],
        &["release", "--token", "9", key],
    ] {
        let output = place.output(line.iter().copied());
        let said = errors(&output);
        assert!(said.starts_with("locks: ") && said.contains(shown), "{line:?}: {said:?}");
        assert!(
            !said.contains(['\u{61c}', '\u{202e}', '\u{2066}', '\u{1b}']),
            "{line:?}: {said:?}"
        );
        assert_eq!(said.lines().count(), 1, "{line:?}: {said:?}");
    }
    let table = words(&place.output(["ls"]));
    assert!(table.contains(shown.trim_matches('`')), "{table:?}");
    assert!(!table.contains(['\u{61c}', '\u{202e}', '\u{2066}', '\u{1b}']), "{table:?}");
    assert_eq!(table.lines().count(), 2, "{table:?}");
    place.touch("end");
    assert_eq!(holder.end().status.code(), Some(0));
    // A sentence's own lines stay lines.
    let said = errors(&place.output(["run", "--no-such\u{202e}", "a", "--", "true"]));
    assert!(said.lines().count() > 1 && !said.contains('\u{202e}'), "{said:?}");
}
