//! Storms: processes that take and drop locks, while they and their server are killed and stopped. Each writes
//! down what it holds, and the account is judged by tokens.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use locks_core::Backend;

use super::process::Directory;

const KEYS: [&str; 2] = ["a", "b"];

/// For how long a storm rages: as long as `LOCKS_TORTURE_SECONDS` says.
pub(crate) fn length(usual: u64) -> Duration {
    let seconds = std::env::var("LOCKS_TORTURE_SECONDS").ok().and_then(|of| of.parse().ok());
    Duration::from_secs(seconds.unwrap_or(usual))
}

/// Judges what was written down.
pub(crate) fn assert_right(account: &Path) {
    let keys = read(account);
    let granted: usize = keys.values().map(Vec::len).sum();
    assert!(granted > 20, "only {granted} grants: it was no storm");
    for (key, holds) in keys {
        judge(&holds).unwrap_or_else(|why| panic!("`{key}`: {why}"));
    }
}

/// What one process has written of one hold, in microseconds of the system's clock since its start.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hold {
    token: u64,
    from: u64,
    /// When it was last known to be held; a process that was killed has not said.
    until: u64,
}

fn now() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").expect("a clock");
    let seconds: f64 = text.split(' ').next().and_then(|of| of.parse().ok()).expect("seconds");
    // A hundredth of a second is the grain of it.
    (seconds * 1e6) as u64
}

/// What a process of the storm does until it is killed.
pub(crate) fn take_part(backend: &Backend, account: &Path) {
    let mut account = OpenOptions::new().append(true).open(account).expect("the account");
    let mut write = |line: String| account.write_all(line.as_bytes()).expect("it can be written");
    for round in u64::from(std::process::id()).. {
        let key = KEYS[(round % 2) as usize];
        let lock = backend.named(key).wait(Duration::from_secs(2));
        let Ok(guard) = lock.acquire() else { continue };
        let token = guard.token();
        write(format!("{key} {token} got {}\n", now()));
        thread::sleep(Duration::from_millis(round % 7));
        let read = now();
        if guard.check().is_ok() {
            write(format!("{key} {token} had {read}\n"));
        }
        if round % 5 != 0 {
            let _ = guard.release();
        }
    }
}

/// Reads what was written, by key.
fn read(account: &Path) -> HashMap<String, Vec<Hold>> {
    let text = std::fs::read_to_string(account).expect("the account");
    let mut keys: HashMap<String, HashMap<u64, Hold>> = HashMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [key, token, what, at] = words.as_slice() else { panic!("{line}") };
        let (token, at) = (token.parse().expect("a token"), at.parse().expect("a time"));
        let holds = keys.entry((*key).to_owned()).or_default();
        if *what == "got" {
            let twice = holds.insert(token, Hold { token, from: at, until: at });
            assert_eq!(twice, None, "token {token} of `{key}` was granted twice");
        } else {
            holds.get_mut(&token).expect("it was granted").until = at;
        }
    }
    let ordered = |holds: HashMap<u64, Hold>| {
        let mut holds: Vec<Hold> = holds.into_values().collect();
        holds.sort_by_key(|hold| hold.token);
        holds
    };
    keys.into_iter().map(|(key, holds)| (key, ordered(holds))).collect()
}

/// What is wrong with the holds of a key, in the order of their tokens.
fn judge(holds: &[Hold]) -> Result<(), String> {
    // The grain of the clock.
    const GRAIN: u64 = 10_000;
    for pair in holds.windows(2) {
        if pair[0].until > pair[1].from + GRAIN {
            return Err(format!(
                "{:?} and {:?} overlap, or come in another order",
                pair[0], pair[1]
            ));
        }
    }
    Ok(())
}

#[test]
fn the_judge_finds_what_is_wrong() {
    let hold = |token, from, until| Hold { token, from, until };
    let first = hold(1, 0, 100_000);
    assert_eq!(judge(&[first.clone(), hold(2, 100_000, 150_000)]), Ok(()));
    judge(&[first.clone(), hold(2, 50_000, 150_000)]).unwrap_err();
    judge(&[hold(1, 500_000, 600_000), hold(2, 0, 100_000)]).unwrap_err();
    let directory = Directory::new("storm");
    let account = directory.path().join("account");
    std::fs::write(&account, "a 1 got 0\na 1 had 5\na 1 got 9\n").unwrap();
    std::panic::catch_unwind(|| read(&account)).unwrap_err();
}
