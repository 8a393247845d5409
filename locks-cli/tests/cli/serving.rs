//! A server for a test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use crate::kit::{Place, Process};

/// A `locks serve` that listens.
pub(crate) struct Serving {
    pub(crate) process: Process,
    /// Where, as it has said itself.
    pub(crate) urls: Vec<String>,
}

impl Serving {
    /// On a socket in the test's directory.
    pub(crate) fn on_socket(place: &Place) -> Self {
        Self::start(&mut command(place, &["--listen", &socket(place)]))
    }

    pub(crate) fn start(command: &mut Command) -> Self {
        let mut process = Process::start(command.stdout(Stdio::piped()));
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let count = command.get_args().filter(|argument| *argument == "--listen").count();
        let urls = (0..count.max(1)).map(|_| {
            let line = lines.next().expect("it listens").unwrap();
            line.strip_prefix("listening on ").expect(&line).to_owned()
        });
        Self { urls: urls.collect(), process }
    }
}

/// `locks serve` with a directory of the test's own.
pub(crate) fn command(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.locks(["serve", "--state", place.path("state").to_str().unwrap()]);
    command.args(arguments);
    command
}

pub(crate) fn socket(place: &Place) -> String {
    format!("unix:{}", place.path("locks.sock").display())
}

/// What one says that is not to come up.
pub(crate) fn refusal(command: &mut Command) -> String {
    let mut process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::piped()));
    let mut stderr = process.stderr.take().unwrap();
    let status = process.until_ended();
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(125), "{said}");
    said
}
