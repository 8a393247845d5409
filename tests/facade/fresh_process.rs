//! Tests of what a process settles once, and of its environment, each in a process of its own.

use std::process::{self, Command};
use std::thread;
use std::time::{Duration, Instant};

/// Set in the child, to the test that it is there for.
const MARK: &str = "FACADE_TEST";

/// Runs `body` in a fresh process in which `LOCKS_URL` is `url`. `test` is the calling test's
/// path, by which the child finds it.
pub(crate) fn with_url(test: &str, url: Option<&str>, body: impl FnOnce()) {
    if std::env::var(MARK).is_ok_and(|marked| marked == test) {
        thread::spawn(end_when_stuck);
        return body();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([test, "--exact", "--nocapture"]).env(MARK, test).env_remove("LOCKS_URL");
    if let Some(url) = url {
        child.env("LOCKS_URL", url);
    }
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "in the fresh process:\n{said}{complained}");
    assert!(said.contains("1 passed"), "`{test}` is not the test's name:\n{said}");
}

/// Ends this process if the test in it does not end by itself.
fn end_when_stuck() {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        thread::park_timeout(deadline - Instant::now());
    }
    eprintln!("stuck");
    process::exit(1);
}
