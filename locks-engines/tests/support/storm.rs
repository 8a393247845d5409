//! Storms: processes that take and drop locks, while they and their server are killed and stopped,
//! for as long as `LOCKS_TORTURE_SECONDS` says (8). Each writes down what it holds, and the account
//! is judged by tokens.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use locks_core::Backend;

use super::peer::Peer;
use super::process::{Directory, signal};

const KEYS: [&str; 2] = ["a", "b"];
const PROCESSES: usize = 4;

/// The lease of those who take part.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// With fewer grants it is no storm.
const GRANTS: usize = 40;

/// So many between two disturbances.
const SOME: usize = 5;

/// Lets a storm rage at `server` and judges what was written down. `start` starts a process that
/// plays the role `storm FILE`, which is to [take part](take_part) with leases of [`LEASE`];
/// `disturb` kills or stops what serves, one way or the other by turns.
pub(crate) fn rage<S>(server: &mut S, start: fn(&S, &str) -> Peer, disturb: [fn(&mut S); 2]) {
    let seconds = std::env::var("LOCKS_TORTURE_SECONDS").ok().and_then(|of| of.parse().ok());
    let length = Duration::from_secs(seconds.unwrap_or(8));
    let directory = Directory::new("storm");
    let account = directory.path().join("account");
    File::create(&account).expect("an account");
    // Each line is one `write` to a file that is appended to, so no two mix.
    let role = format!("storm {}", account.display());
    let mut peers: Vec<_> = (0..PROCESSES).map(|_| start(server, &role)).collect();
    let grants = || std::fs::read_to_string(&account).expect("the account").matches("got").count();
    let began = Instant::now();
    for round in 0_usize.. {
        // On a busy machine it takes longer until it is a storm.
        if began.elapsed() >= length && grants() >= GRANTS {
            break;
        }
        assert!(began.elapsed() < length + Duration::from_secs(240), "it is no storm");
        thread::sleep(Duration::from_millis(700));
        // After some disturbances nothing is granted for a lease: what follows is to meet holders.
        let (before, calm) = (grants(), Instant::now());
        while grants() < before + SOME && calm.elapsed() < LEASE * 4 {
            thread::sleep(Duration::from_millis(20));
        }
        match round % 4 {
            0 => {
                peers.remove(0).kill();
                peers.push(start(server, &role));
            }
            2 => {
                // For longer than its lease.
                signal(peers[1].pid(), "-STOP");
                thread::sleep(LEASE + Duration::from_millis(800));
                signal(peers[1].pid(), "-CONT");
            }
            odd => disturb[odd / 2](server),
        }
    }
    drop(peers);
    for (key, holds) in read(&account) {
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
        // Some are held for so long that the server dies under them, and look again and again.
        let looks = if round % 13 == 0 { 24 } else { 1 };
        for _ in 0..looks {
            thread::sleep(Duration::from_millis(if looks > 1 { 50 } else { round % 7 }));
            let read = now();
            if guard.check().is_err() {
                break;
            }
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
