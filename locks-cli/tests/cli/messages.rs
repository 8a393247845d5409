//! `locks publish` and `locks messages` (N8).

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::kit::{Place, Process, errors, until};
use crate::serving::Serving;

fn place() -> (Place, Serving) {
    let place = Place::new();
    let url = format!("unix://{}", place.path("locks.sock").display());
    let serving = Serving::on_socket(&place);
    (place.with_url(url), serving)
}

/// Publishes until somebody has it, since a reader takes its time to begin.
fn publish(place: &Place, arguments: &[&str]) {
    until("somebody gets it", || {
        let mut all = vec!["publish"];
        all.extend(arguments);
        place.output(all).status.success().then_some(())
    });
}

#[test]
fn n8_what_is_published_is_printed_by_those_whom_it_names() {
    let (place, _serving) = place();
    let read = |name: &str, options: &[&str]| {
        let mut command = place.locks(["messages", "--name", name]);
        let mut process = Process::start(command.args(options).stdout(Stdio::piped()));
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        (process, lines)
    };
    let (mut web, mut web_lines) = read("web", &["--count", "2", "--json"]);
    publish(&place, &["--to", "web", "first", "1"]);
    let (mut worker, mut worker_lines) = read("worker", &["--count", "1"]);
    publish(&place, &["--to", "worker", "only", "a\tb"]);
    assert_eq!(worker_lines.next().unwrap().unwrap(), "only: a\\tb");
    publish(&place, &["--timeout", "1m", "second", ""]);
    let mut object = || serde_json::from_str::<Value>(&web_lines.next().unwrap().unwrap()).unwrap();
    let (first, second) = (object(), object());
    assert_eq!((&first["subject"], &first["content"]), (&"first".into(), &"1".into()));
    assert_eq!((&first["expires_ms"], &first["from"]["process"]), (&Value::Null, &"locks".into()));
    assert_eq!(second["subject"], "second");
    assert!(second["expires_ms"].as_u64().unwrap() <= 60_000);
    assert_eq!((web.until_ended().code(), worker.until_ended().code()), (Some(0), Some(0)));
}

#[test]
fn n8_what_nobody_gets_is_told_and_so_is_a_backend_without_messages() {
    let (place, _serving) = place();
    let output = place.output(["publish", "s", "x"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("no client wants messages"), "{}", errors(&output));
    let output = place.output(["publish", "--to", "web", "--json", "s"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"{\"delivered\":0,\"full\":0}\n");
    let output = place.output(["messages", "--timeout", "1ms"]);
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    let output = place.output(["publish", "--backend", "file:", "s"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(errors(&output).contains("carries no messages"), "{}", errors(&output));
    let output = place.output(["publish", "--unique", "--replace", "s"]);
    assert!(errors(&output).contains("cannot be used with"), "{}", errors(&output));
}
