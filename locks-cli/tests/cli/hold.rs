//! `locks hold`: a lock for the rest of a script, kept by another process.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::kit::{Place, Process, errors, until, until_dead, words};
use crate::serving::Serving;

/// A shell that runs this script; `locks` is in its path.
fn script(place: &Place, text: &str) -> Command {
    std::fs::write(place.path("nightly.sh"), text).unwrap();
    let mut shell = Command::new("sh");
    shell.arg("nightly.sh").current_dir(place.dir()).env("LOCKS_URL", place.url());
    shell.env("PATH", crate::kit::path_with_locks()).stdin(Stdio::null());
    shell
}

/// What a script does until the test says so.
const GO_ON: &str = "echo $$ >held.new; mv held.new held; until [ -e end ]; do sleep 0.02; done";

fn is_free(place: &Place) -> bool {
    place.output(["run", "-n", "-q", "a", "--", "true"]).status.code() == Some(0)
}

/// Who holds the lock that there is.
fn holder(place: &Place) -> serde_json::Value {
    let listed = place.listed();
    listed[0]["holders"][0].clone()
}

fn keeper(place: &Place) -> Pid {
    crate::kit::pid(&holder(place)["pid"].to_string())
}

#[test]
fn the_lock_is_held_until_the_script_ends_and_shows_as_its_own() {
    for backend in ["file", "net", "unix"] {
        let mut place = Place::new();
        let _serving = (backend == "unix").then(|| Serving::on_socket(&place));
        let url = match backend {
            "unix" => _serving.as_ref().unwrap().urls[0].clone(),
            _ => format!("{backend}://{}", place.path("dir").display()),
        };
        place = place.with_url(url);
        let text = format!("locks hold a b || exit\n{GO_ON}\nexit 3");
        let mut process = Process::start(&mut script(&place, &text));
        place.content("held");
        assert!(!is_free(&place), "{backend}");
        let name = if backend == "file" { "process" } else { "label" };
        assert_eq!(holder(&place)[name], "nightly.sh", "{backend}");
        place.touch("end");
        assert_eq!(process.until_ended().code(), Some(3));
        until("the lock is free", || is_free(&place).then_some(()));
    }
}

#[test]
fn the_lock_is_free_when_the_script_is_killed() {
    let place = Place::new();
    let process = Process::start(&mut script(&place, &format!("locks hold a || exit\n{GO_ON}")));
    place.content("held");
    let keeper = keeper(&place);
    process.signal(Signal::KILL);
    until_dead(keeper);
    assert!(is_free(&place));
}

#[test]
fn a_conflict_has_its_status_and_says_who_has_the_lock() {
    let place = Place::new();
    let holder = place.hold(&["a"]);
    let output = script(&place, "locks hold -n a; echo $?; locks hold -nqE9 a; echo $?").output();
    let output = output.unwrap();
    assert_eq!(words(&output), "75\n9\n");
    let said = errors(&output);
    let expected = format!("locks: `a` is held by `sh` (process {})", holder.id());
    assert!(said.starts_with(&expected) && said.lines().count() == 1, "{said}");
    let output = script(&place, "locks hold -w 50ms a").output().unwrap();
    assert_eq!(output.status.code(), Some(75));
    assert!(errors(&output).contains("gave up waiting for `a`"), "{}", errors(&output));
}

#[test]
fn whatever_is_wrong_is_told_by_the_one_that_was_called() {
    let place = Place::new();
    for (line, expected) in [
        ("locks hold", "write `locks hold KEY`"),
        ("locks hold ''", "the key is empty"),
        ("locks hold --backend memory: a", "no other can see"),
        ("locks hold --pid 2147483647 a", "there is no process"),
        ("locks hold --signal WINCH a", "TERM, KILL, HUP"),
    ] {
        let output = script(&place, line).output().unwrap();
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(125), "{line}: {said}");
        assert!(said.starts_with("locks: ") && said.contains(expected), "{line}: {said}");
    }
}

#[test]
fn a_loss_is_signalled_and_said_where_the_script_says_what_is_wrong() {
    for (options, trap, status) in
        [("", "TERM", 7), ("--signal USR1", "USR1", 7), ("--signal KILL", "TERM", 137)]
    {
        let place = Place::new();
        let text = format!("trap 'exit 7' {trap}\nlocks hold {options} a || exit\n{GO_ON}");
        let mut command = script(&place, &text);
        let stderr = File::create(place.path("stderr")).unwrap();
        let mut process = Process::start(command.stderr(stderr));
        place.content("held");
        assert_eq!(place.output(["release", "a"]).status.code(), Some(0));
        let ended = process.until_ended();
        let signal = std::os::unix::process::ExitStatusExt::signal(&ended);
        assert_eq!(ended.code().or(signal.map(|signal| 128 + signal)), Some(status));
        let said = place.content("stderr");
        assert!(said.starts_with("locks: the lock on `a`") && said.contains("was lost"), "{said}");
        assert!(is_free(&place));
    }
}

/// What a script does until its lock is lost, of which it says something itself.
const SAYS: &str = "trap 'echo got it >&2; exit 4' TERM
    echo first >&2; echo >ready; while :; do sleep 0.02; done";

/// Has the lock taken from a script with this standard error.
fn lose(place: &Place, stderr: impl Into<Stdio>) {
    let mut command = script(place, &format!("locks hold a || exit\n{SAYS}"));
    let mut process = Process::start(command.stderr(stderr));
    // Its copy of what it is given goes with it.
    drop(command);
    place.content("ready");
    assert_eq!(place.output(["release", "a"]).status.code(), Some(0));
    assert_eq!(process.until_ended().code(), Some(4));
}

fn assert_said(said: &str) {
    let lines = said.lines().collect::<Vec<_>>();
    assert!(matches!(lines[..], ["first", lost, "got it"] if lost.contains("was lost")), "{said}");
}

#[test]
fn in_a_file_that_is_not_for_appending_nobody_writes_over_what_the_other_says() {
    let place = Place::new();
    lose(&place, File::create(place.path("said")).unwrap());
    assert_said(&place.content("said"));
}

#[test]
fn a_loss_is_said_on_a_socket_and_on_a_pipe_whose_readers_find_the_end() {
    let place = Place::new();
    let (mut reader, writer) = UnixStream::pair().unwrap();
    lose(&place, OwnedFd::from(writer));
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert_said(&said);
    std::fs::remove_file(place.path("ready")).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    lose(&place, writer);
    said.clear();
    reader.read_to_string(&mut said).unwrap();
    assert_said(&said);
}

#[test]
fn a_loss_is_signalled_also_where_nobody_reads_what_is_said() {
    for is_socket in [true, false] {
        let place = Place::new();
        let (_reader, mut writer) = match is_socket {
            true => {
                let (reader, writer) = UnixStream::pair().unwrap();
                (OwnedFd::from(reader), File::from(OwnedFd::from(writer)))
            }
            false => {
                let (reader, writer) = std::io::pipe().unwrap();
                (OwnedFd::from(reader), File::from(OwnedFd::from(writer)))
            }
        };
        let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
        rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
        while writer.write(b"full").is_ok() {}
        rustix::fs::fcntl_setfl(&writer, flags).unwrap();
        let text = format!("locks hold a || exit\ntrap 'exit 4' TERM\n{GO_ON}");
        let mut process = Process::start(script(&place, &text).stderr(writer));
        place.content("held");
        assert_eq!(place.output(["release", "a"]).status.code(), Some(0));
        assert_eq!(process.until_ended().code(), Some(4), "{is_socket}");
    }
}

#[test]
fn a_script_hears_before_its_lock_is_over() {
    let place = Place::new();
    let limits = "--hold-at-most 30s --kill-after 29900ms";
    let text =
        format!("trap 'locks ls --json >listed; exit 7' TERM\nlocks hold {limits} a\n{GO_ON}");
    let mut process = Process::start(&mut script(&place, &text));
    assert_eq!(process.until_ended().code(), Some(7));
    assert!(place.content("listed").contains("nightly.sh"), "{}", place.content("listed"));
}

#[test]
fn nothing_that_is_read_to_its_end_stays_open_in_the_keeper() {
    let place = Place::new();
    let mut script = Process::start(Command::new("sleep").arg("600").current_dir(place.dir()));
    let pid = script.id().to_string();
    // Pipes, which end when nobody has them open any more.
    let output = place.output(["hold", "--pid", &pid, "--json", "a"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["keys"], serde_json::json!(["a"]));
    assert_eq!((&said["token"], &said["pid"]), (&holder(&place)["token"], &holder(&place)["pid"]));
    // Told to, it lets go, and the script goes on.
    kill_process(keeper(&place), Signal::TERM).unwrap();
    until("the lock is free", || is_free(&place).then_some(()));
    assert!(script.try_wait().unwrap().is_none());
}

#[test]
fn who_is_killed_while_it_waits_leaves_the_queue() {
    let place = Place::new();
    let holder = place.hold(&["a"]);
    let waiter = Process::start(&mut place.locks(["hold", "a"]));
    until("it waits", || {
        let waiters = place.listed()[0]["waiters"].as_array().cloned()?;
        (waiters.len() == 1).then_some(())
    });
    waiter.signal(Signal::INT);
    until("nobody waits", || {
        let waiters = place.listed()[0]["waiters"].as_array().cloned()?;
        waiters.is_empty().then_some(())
    });
    place.touch("end");
    assert_eq!(holder.end().status.code(), Some(0));
    assert!(is_free(&place));
}

#[test]
fn f39_a_script_that_asks_for_its_own_lock_is_told_at_once() {
    let place = Place::new();
    let text = "locks hold a || exit\nlocks run a -- true; echo $?\nlocks hold a; echo $?";
    let output = script(&place, text).output().unwrap();
    assert_eq!(words(&output), "125\n125\n", "{}", errors(&output));
    for said in errors(&output).lines() {
        assert!(said.contains("that is the `locks hold` of this script"), "{said}");
    }
}

/// A file that the script has locked is free once the script closes it, and the reader of a pipe of
/// its own, such as bash's `>(…)`, finds the end.
#[test]
fn the_keeper_keeps_none_of_the_scripts_own_files_open() {
    for backend in ["file", "net"] {
        let place = Place::new();
        let url = format!("{backend}://{}", place.path("dir").display());
        let place = place.with_url(url);
        let text = "exec 8>own; flock 8
            mkfifo pipe; cat pipe >copy 8>&- & reader=$!; exec 9>pipe
            echo read >&9
            locks hold a || exit
            exec 8>&-; flock -n own true; echo $?
            exec 9>&-; wait $reader; echo $?
            locks run -n -q a -- true; echo $?";
        let mut shell = script(&place, text);
        let out = File::create(place.path("said")).unwrap();
        let mut process = Process::start(shell.stdout(out));
        assert_eq!(process.until_ended().code(), Some(0), "{backend}");
        // The lock is held all the same.
        assert_eq!(place.content("said"), "0\n0\n75\n", "{backend}");
        assert_eq!(place.content("copy"), "read\n", "{backend}");
    }
}
