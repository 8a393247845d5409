//! `locks serve`: its start, its addresses, its end.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::kit::{Place, Process, errors, until};
use crate::serving::{Serving, command, refusal, socket};

#[test]
fn what_it_says_it_listens_to_can_be_connected_to() {
    let place = Place::new();
    let serving = Serving::on_socket(&place);
    assert_eq!(serving.urls, [format!("unix://{}", place.path("locks.sock").display())]);
    UnixStream::connect(place.path("locks.sock")).unwrap();
}

#[test]
fn each_address_has_a_line_and_one_object_in_json_has_them_all() {
    let place = Place::new();
    assert!(place.output(["secret", "--out", "s"]).status.success());
    let other = format!("unix:{}", place.path("other.sock").display());
    let listen = ["--listen", &socket(&place), "--listen", &other, "--listen", "tcp:127.0.0.1:0"];
    let mut arguments = listen.to_vec();
    arguments.extend(["--secret-file", "s"]);
    let serving = Serving::start(&mut command(&place, &arguments));
    let kinds = serving.urls.iter().map(|url| url.split_once(':').unwrap().0);
    assert_eq!(kinds.filter(|kind| *kind == "unix").count(), 2, "{:?}", serving.urls);
    drop(serving);
    arguments.push("--json");
    let mut process = Process::start(command(&place, &arguments).stdout(Stdio::piped()));
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(object["listening"].as_array().unwrap().len(), 3, "{object}");
    assert_eq!(object["pid"], process.id());
}

#[test]
fn a_signal_stops_it_and_takes_its_socket_away() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new();
        let mut serving = Serving::on_socket(&place);
        serving.process.signal(signal);
        assert_eq!(serving.process.until_ended().code(), Some(0), "{signal:?}");
        assert!(!place.has("locks.sock"));
        // And another one comes up where it was.
        drop(Serving::on_socket(&place));
    }
}

/// N12: HUP is what a terminal sends that goes away, and what an operator sends to have settings
/// read.
#[test]
fn hup_does_not_end_it_and_its_life_is_told_on_standard_error() {
    for (level, told) in [("info", true), ("error", false)] {
        let place = Place::new();
        let mut serve = command(&place, &["--listen", &socket(&place), "--log-level", level]);
        serve.stderr(std::process::Stdio::piped());
        let mut serving = Serving::start(&mut serve);
        serving.process.signal(Signal::HUP);
        serving.process.signal(Signal::HUP);
        UnixStream::connect(place.path("locks.sock")).unwrap();
        serving.process.signal(Signal::TERM);
        assert_eq!(serving.process.until_ended().code(), Some(0));
        let mut lines = String::new();
        serving.process.stderr.take().unwrap().read_to_string(&mut lines).unwrap();
        for event in ["started", "stopped"] {
            let line = format!("level=info event=\"{event}\" text=");
            assert_eq!(lines.contains(&line), told, "{level}: {lines}");
        }
    }
}

#[test]
fn n5_hup_reads_anew_who_comes_in_and_a_wrong_file_changes_nothing() {
    let place = Place::new();
    for name in ["old", "new"] {
        let made = place.output(["secret", "--name", "deploy", "--out", name]);
        assert!(made.status.success(), "{}", errors(&made));
    }
    let list = |secrets: &str| {
        let text = format!("[deploy]\nsecret_files = [{secrets}]\n");
        fs::write(place.path("clients.toml"), text).unwrap();
    };
    list("'old'");
    let listen = ["--listen", "tcp:127.0.0.1:0", "--clients", "clients.toml"];
    let mut serve = command(&place, &listen);
    serve.stderr(fs::File::create(place.path("told")).unwrap());
    let serving = Serving::start(&mut serve);
    let comes_in = |secret: &str| {
        let url = format!("{}?secret_file={}", serving.urls[0], place.path(secret).display());
        let output = place.output(["ping", "--backend", &url]);
        let code = output.status.code();
        assert!(code == Some(0) || errors(&output).contains("secret"), "{}", errors(&output));
        code == Some(0)
    };
    assert!(comes_in("old") && !comes_in("new"));
    for (secrets, told) in
        [("", "the client `deploy` has neither a secret"), ("'none'", "`: `deploy`: the secret in")]
    {
        list(secrets);
        serving.process.signal(Signal::HUP);
        until("it says what is wrong", || {
            let lines = place.content("told");
            let line = lines.lines().find(|line| line.contains("not read anew: clients in `"));
            line.filter(|_| lines.contains(told)).map(drop)
        });
        assert!(comes_in("old"));
    }
    list("'old', 'new'");
    serving.process.signal(Signal::HUP);
    until("the new one comes in", || comes_in("new").then_some(()));
    assert!(comes_in("old"));
    list("'new'");
    serving.process.signal(Signal::HUP);
    until("the old one does not", || (!comes_in("old")).then_some(()));
    assert!(comes_in("new"));
}

#[test]
fn what_was_ignored_stays_ignored_by_a_server() {
    let place = Place::new();
    let mut under_nohup = std::process::Command::new("sh");
    under_nohup.arg0("sh").args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    let serve = command(&place, &["--listen", &socket(&place)]);
    under_nohup.arg(serve.get_program()).args(serve.get_args()).current_dir(place.dir());
    let mut serving = Serving::start(&mut under_nohup);
    serving.process.signal(Signal::HUP);
    UnixStream::connect(place.path("locks.sock")).unwrap();
    serving.process.signal(Signal::TERM);
    assert_eq!(serving.process.until_ended().code(), Some(0));
}

#[test]
fn a_killed_one_leaves_what_the_next_one_takes_up() {
    let place = Place::new();
    let mut serving = Serving::on_socket(&place);
    serving.process.signal(Signal::KILL);
    serving.process.until_ended();
    assert!(place.has("locks.sock"), "nobody has removed it");
    drop(Serving::on_socket(&place));
}

#[test]
fn f15_two_do_not_share_a_directory_or_a_socket() {
    let place = Place::new();
    let _first = Serving::on_socket(&place);
    let other = format!("unix:{}", place.path("other.sock").display());
    let said = refusal(&mut command(&place, &["--listen", &other]));
    assert!(said.contains("state"), "{said}");
    let elsewhere = place.path("elsewhere");
    let mut same_socket =
        place.locks(["serve", "--state", elsewhere.to_str().unwrap(), "--listen", &socket(&place)]);
    let said = refusal(&mut same_socket);
    assert!(said.contains("locks.sock"), "{said}");
    UnixStream::connect(place.path("locks.sock")).unwrap();
}

#[test]
fn systemd_is_told_when_it_is_ready_and_when_it_stops() {
    let place = Place::new();
    let systemd = UnixDatagram::bind(place.path("notify")).unwrap();
    systemd.set_read_timeout(Some(crate::kit::PATIENCE)).unwrap();
    let mut heard = [0; 64];
    let mut hear = || {
        let length = systemd.recv(&mut heard).unwrap();
        String::from_utf8_lossy(&heard[..length]).into_owned()
    };
    let mut serve = command(&place, &["--listen", &socket(&place)]);
    let mut process =
        Process::start(serve.env("NOTIFY_SOCKET", place.path("notify")).stdout(Stdio::null()));
    assert_eq!(hear(), "READY=1\n");
    UnixStream::connect(place.path("locks.sock")).unwrap();
    process.signal(Signal::TERM);
    assert_eq!(hear(), "STOPPING=1\n");
    assert_eq!(process.until_ended().code(), Some(0));
}

#[test]
fn a_descriptor_is_written_to_when_it_is_ready() {
    let place = Place::new();
    // A pipe as descriptor 5, the number of which a shell chooses.
    let serve = command(&place, &["--listen", &socket(&place), "--ready-fd", "5"]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "exec 5>&1 1>/dev/null; exec \"$@\"", "sh"]).arg(serve.get_program());
    shell.args(serve.get_args()).current_dir(place.dir());
    let mut process = Process::start(shell.stdout(Stdio::piped()));
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "\n");
    UnixStream::connect(place.path("locks.sock")).unwrap();
    let said = refusal(
        command(&place, &["--listen", &format!("unix:{}", place.path("b").display())])
            .args(["--state", place.path("b-state").to_str().unwrap(), "--ready-fd", "77"])
            .stdout(Stdio::null()),
    );
    assert!(said.contains("`--ready-fd 77`"), "{said}");
}

#[test]
fn a_place_that_will_not_do_is_told() {
    let place = Place::new();
    fs::write(place.path("file"), "").unwrap();
    let said = refusal(&mut place.locks([
        "serve",
        "--listen",
        &socket(&place),
        "--state",
        place.path("file").to_str().unwrap(),
    ]));
    assert!(said.contains("file"), "{said}");
    let said = refusal(&mut command(&place, &["--listen", "unix:/no/such/dir/locks.sock"]));
    assert!(said.contains("/no/such/dir"), "{said}");
    assert!(!errors(&place.output(["serve", "--listen", "x"])).contains("panicked"));
}

/// N12: a file for the lines, which is rotated by moving it away.
#[test]
fn its_lines_go_to_a_file_that_hup_opens_anew() {
    for nohup in [false, true] {
        let place = Place::new();
        let arguments = ["--listen", &socket(&place), "--log", "serve.log"];
        let serve = command(&place, &arguments);
        let mut command = std::process::Command::new("sh");
        let script = if nohup { "trap '' HUP; exec \"$@\"" } else { "exec \"$@\"" };
        command.args(["-c", script, "sh"]).arg(serve.get_program()).args(serve.get_args());
        command.current_dir(place.dir()).stderr(Stdio::piped());
        let mut serving = Serving::start(&mut command);
        let lines = |name: &str| fs::read_to_string(place.path(name)).unwrap_or_default();
        let first = lines("serve.log");
        assert!(first.starts_with("time=2"), "{first}");
        assert!(first.contains("Z level=info event=\"started\" text="), "{first}");
        fs::rename(place.path("serve.log"), place.path("serve.log.1")).unwrap();
        serving.process.signal(Signal::HUP);
        until("there is another file", || place.has("serve.log").then_some(()));
        // What cannot be opened anew is told where the lines went.
        fs::rename(place.path("serve.log"), place.path("serve.log.2")).unwrap();
        fs::create_dir(place.path("serve.log")).unwrap();
        serving.process.signal(Signal::HUP);
        until("that is told", || {
            lines("serve.log.2").contains("cannot be opened anew").then_some(())
        });
        serving.process.signal(Signal::TERM);
        assert_eq!(serving.process.until_ended().code(), Some(0));
        assert!(lines("serve.log.2").contains("event=\"stopped\""), "{}", lines("serve.log.2"));
        assert_eq!(lines("serve.log.1"), first);
        let mut besides = String::new();
        serving.process.stderr.take().unwrap().read_to_string(&mut besides).unwrap();
        assert_eq!(besides, "", "nothing is told twice");
    }
}

#[test]
fn how_much_is_told_is_said_by_a_flag_or_by_rust_log() {
    for (flag, variable, told) in [
        (None, "locks=error", false),
        (None, "hyper=off,info", true),
        (Some("info"), "off", true),
        (Some("warn"), "info", false),
    ] {
        let place = Place::new();
        let mut arguments = vec!["--listen".to_owned(), socket(&place)];
        arguments.extend(["--log", "serve.log"].map(str::to_owned));
        arguments.extend(flag.map(|level| format!("--log-level={level}")));
        let arguments = Vec::from_iter(arguments.iter().map(String::as_str));
        let serving = Serving::start(command(&place, &arguments).env("RUST_LOG", variable));
        let lines = fs::read_to_string(place.path("serve.log")).unwrap();
        assert_eq!(lines.contains("started"), told, "{flag:?}, {variable}: {lines}");
        drop(serving);
    }
}

#[test]
fn a_log_that_cannot_be_written_and_a_level_in_its_place_are_refused() {
    let place = Place::new();
    for (log, expected) in [("missing/serve.log", "`--log`: `"), ("warn", "`--log-level warn`")] {
        let said = refusal(&mut command(&place, &["--listen", &socket(&place), "--log", log]));
        assert!(said.contains(expected), "{said}");
    }
    let missing = |serve: &mut Command| refusal(serve.args(["--listen", &socket(&place)]));
    let said = missing(command(&place, &[]).env("LOCKS_SERVE_LOG", "missing/serve.log"));
    assert!(said.contains("locks: `LOCKS_SERVE_LOG`: `"), "{said}");
    std::fs::write(place.path("settings.toml"), "log = 'missing/serve.log'").unwrap();
    let said = missing(&mut command(&place, &["--config", "settings.toml"]));
    assert!(said.contains("locks: settings in `settings.toml`: `log`: `"), "{said}");
}

/// N12: of a theft both parties are named, and what they hold it by.
#[test]
fn a_theft_is_told_with_both_parties() {
    let place = Place::new();
    let arguments = ["--listen", &socket(&place), "--log", "serve.log"];
    let serving = Serving::start(&mut command(&place, &arguments));
    let place = place.with_url(serving.urls[0].clone());
    let holder = place.hold(&["--label", "nightly", "k"]);
    let thief =
        place.output(["run", "--steal-after", "1ms", "--label", "hasty", "k", "--", "true"]);
    assert!(thief.status.success(), "{thief:?}");
    drop(holder);
    let lines = fs::read_to_string(place.path("serve.log")).unwrap();
    let line = lines.lines().find(|line| line.contains("event=\"stolen\"")).expect(&lines);
    let (holder, thief) = line.split_once(", by ").expect(line);
    assert!(holder.contains("text=\"`k` from ") && holder.contains("nightly"), "{line}");
    assert!(
        holder.contains("token ") && thief.contains("hasty") && thief.contains("token "),
        "{line}"
    );
}
