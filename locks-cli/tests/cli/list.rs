//! `locks ls` shows the truth.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::kit::{Place, Process, errors, until, words};

#[test]
fn c12_a_holder_is_listed_with_all_that_is_known() {
    let place = Place::new();
    let script =
        "echo $LOCKS_TOKEN >held.new; mv held.new held; until [ -e end ]; do sleep 0.02; done";
    let holder = place.run(&["--label", "nightly", "a"], script);
    let token = place.content("held").trim().parse::<u64>().unwrap();
    let listed = place.listed();
    assert_eq!(listed.len(), 1, "{listed:?}");
    let (lock, held) = (&listed[0], &listed[0]["holders"][0]);
    assert_eq!((lock["key"].as_str(), held["mode"].as_str()), (Some("a"), Some("exclusive")));
    assert_eq!(held["token"].as_u64(), Some(token));
    assert_eq!(held["pid"].as_u64(), Some(u64::from(holder.id())));
    let command = held["command"].as_str().unwrap_or_default();
    assert!(command.contains("run --label nightly a -- sh -c "), "{command}");
    let called = [&held["label"], &held["process"], &held["site"]].map(|text| text.as_str());
    assert_eq!(called, [Some("nightly"), Some("sh"), None]);
    assert!(held["age_ms"].is_u64(), "{held}");
    place.touch("end");
    assert_eq!(holder.end().status.code(), Some(0));
    assert_eq!(place.listed(), [Value::Null; 0], "C13: nothing is held any more");
}

#[test]
fn c12_waiters_are_listed_first_come_first() {
    let place = Place::new();
    let _holder = place.hold(&["a"]);
    let waiters = ["first", "second"].map(|label| {
        let waiter = place.run(&["--label", label, "a"], "true");
        place.until_waiting(waiter.pid());
        waiter
    });
    let listed = place.listed();
    let listed = listed[0]["waiters"].as_array().unwrap();
    for ((waiter, shown), label) in waiters.iter().zip(listed).zip(["first", "second"]) {
        assert_eq!(shown["pid"].as_u64(), Some(u64::from(waiter.id())), "{listed:?}");
        let said = [&shown["label"], &shown["process"], &shown["mode"]].map(|text| text.as_str());
        assert_eq!(said, [Some(label), Some("sh"), Some("exclusive")]);
        assert!(shown["waited_ms"].is_u64() && shown["command"].is_string(), "{shown}");
    }
    let text = words(&place.output(["ls"]));
    let [first, second] = waiters.each_ref().map(|waiter| waiter.id());
    assert!(text.contains(&format!(" 2 ({first}, {second}) ")), "{text}");
}

#[test]
fn what_is_listed_is_true_while_holders_are_stopped_and_killed() {
    let place = Place::new();
    let holders = |place: &Place| {
        let listed = place.listed();
        let holders = listed.iter().flat_map(|lock| lock["holders"].as_array().unwrap().clone());
        holders.map(|holder| holder["pid"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let holder = place.hold(&["a"]);
    let id = u64::from(holder.id());
    assert_eq!(holders(&place), [id]);
    holder.signal(Signal::STOP);
    assert_eq!(holders(&place), [id], "a stopped holder holds");
    holder.signal(Signal::KILL);
    let mut holder = holder;
    holder.until_ended();
    assert_eq!(holders(&place), [0; 0], "a dead one does not");
    let next = place.hold(&["a"]);
    assert_eq!(holders(&place), [u64::from(next.id())]);
}

#[test]
fn the_table_has_a_line_for_each_holder_and_no_control_characters() {
    let place = Place::new();
    let _one = place.hold(&["--shared", "a\x1b[31m\tb"]);
    let _two = place.hold(&["--shared", "a\x1b[31m\tb"]);
    let output = place.output(["ls"]);
    let text = words(&output);
    let lines = text.lines().collect::<Vec<_>>();
    assert_eq!((lines.len(), errors(&output).as_str()), (3, ""), "{text}");
    assert!(lines[0].starts_with("KEY"), "{text}");
    for line in &lines[1..] {
        assert!(line.starts_with(r"a\u{1b}[31m\tb  shared"), "{text}");
    }
}

#[test]
fn a_prefix_chooses() {
    let place = Place::new();
    let _one = place.hold(&["app/1", "app/2", "other"]);
    let holder = &place.listed()[0]["holders"][0];
    assert_eq!(holder["who"], Value::Null, "an acquisition of several keys is nobody to speak of");
    let keys = |line: &[&str]| {
        let output = place.output(line.iter().copied());
        let listed: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        listed.iter().map(|lock| lock["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys(&["ls", "--json"]), ["app/1", "app/2", "other"]);
    assert_eq!(keys(&["ls", "--json", "app/"]), ["app/1", "app/2"]);
    assert_eq!(keys(&["ls", "--json", "no"]), [""; 0]);
}

#[test]
fn watching_shows_what_changes() {
    let place = Place::new();
    let mut command = place.locks(["ls", "--json", "--watch", "20ms"]);
    let mut watch = Process::start(command.stdout(Stdio::piped()));
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut until_listed = |count: usize| {
        until("the watch shows it", || {
            let line = lines.next().unwrap().unwrap();
            let listed: Vec<Value> = serde_json::from_str(&line).unwrap();
            (listed.len() == count).then_some(())
        });
    };
    until_listed(0);
    let holder = place.hold(&["a"]);
    until_listed(1);
    place.touch("end");
    assert_eq!(holder.end().status.code(), Some(0));
    until_listed(0);
    watch.signal(Signal::INT);
    let status = watch.until_ended();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(2));
}

#[test]
fn a_watch_ends_when_nobody_reads_it() {
    let place = Place::new();
    let mut command = place.locks(["ls", "--watch", "1ms"]);
    let mut watch = Process::start(command.stdout(Stdio::piped()));
    drop(watch.stdout.take());
    assert_eq!(watch.until_ended().code(), Some(0));
}

#[test]
fn locks_are_chosen_and_sorted_as_asked_for() {
    let place = Place::new();
    let first = place.hold(&["b-oldest"]);
    let second = place.hold(&["A-newer"]);
    let waits = place.run(&["A-newer"], "true");
    until("somebody waits", || {
        let listed = place.listed();
        listed.iter().any(|lock| !lock["waiters"].as_array().unwrap().is_empty()).then_some(())
    });
    let keys = |options: &[&str]| {
        let mut arguments = vec!["ls", "--json"];
        arguments.extend(options);
        let output = place.output(arguments);
        assert!(output.status.success(), "{}", errors(&output));
        let listed: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        listed.iter().map(|lock| lock["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys(&[]), ["A-newer", "b-oldest"]);
    assert_eq!(keys(&["--reverse"]), ["b-oldest", "A-newer"]);
    assert_eq!(keys(&["--sort", "age"]), ["b-oldest", "A-newer"]);
    assert_eq!(keys(&["--sort", "waiters", "--reverse"]), ["b-oldest", "A-newer"]);
    assert_eq!(keys(&["--state", "waited"]), ["A-newer"]);
    assert_eq!(keys(&["--match", "OLDEST", "--state", "held"]), ["b-oldest"]);
    assert_eq!(keys(&["--match", "nobody"]), Vec::<String>::new());
    let output = place.output(["ls", "--sort", "size"]);
    assert!(errors(&output).contains("key, age, waiters, waited, holder"), "{}", errors(&output));
    place.touch("end");
    drop((first, second, waits));
}
