//! `locks hold`: a lock for the rest of a shell script.
//!
//! A process that ends cannot hold a lock. So another one is left behind, the keeper (`keeper.rs`):
//! it acquires the lock, tells this one by a pipe what came of it, and holds the lock until the
//! script has ended.

mod given;
mod keeper;
mod stderr;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};
use serde_json::{Value, json};

use crate::args::HoldArgs;
use crate::out;
use crate::reexec;
use crate::status::{Failure, Status, say};

pub(crate) use self::keeper::{keep, kept_for};

/// Has the lock held for the process that is asked for.
pub(crate) fn hold(asked: &HoldArgs) -> Result<Status, Failure> {
    let given = asked.pid.and_then(Pid::from_raw);
    let Some(pid) = given.or_else(getppid) else {
        return Err(Failure::new(
            "whoever calls cannot be seen from here: name the process that the lock is for by `--pid`",
        ));
    };
    let unseen = |error| match error {
        Errno::SRCH => Failure::new(format!("there is no process {}", pid.as_raw_nonzero())),
        error => {
            Failure::during(&format!("process {} cannot be watched", pid.as_raw_nonzero()), error)
        }
    };
    let watched = pidfd_open(pid, PidfdFlags::empty()).map_err(unseen)?;
    if given.is_none() && getppid() != Some(pid) {
        // It has ended meanwhile, and its number may be somebody else's.
        return Err(unseen(Errno::SRCH));
    }
    // What this one was given, to be read in the same way.
    let arguments = std::env::args_os().skip(2);
    let mut keeper = reexec::keeper(pid, arguments);
    // It outlives this process: nothing that somebody reads to its end may stay open in it. Of what
    // else the script has opened it sees to itself.
    keeper.stdin(watched).stdout(Stdio::piped()).stderr(stderr::hand_on(pid));
    let mut keeper = keeper
        .spawn()
        .map_err(|error| Failure::during("the lock's keeper could not be started", error))?;
    let stdout = keeper.stdout.take().expect("it is piped");
    let mut line = String::new();
    // Without a word it has died.
    let read = BufReader::new(stdout).read_line(&mut line);
    let report = read.ok().and_then(|_| KeeperReport::read(&line)).ok_or_else(|| {
        let how = keeper.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        Failure::new(format!("the lock's keeper has ended ({how})"))
    })?;
    for word in report.said {
        say(word);
    }
    if let (Status::Done, true) = (report.status, asked.json) {
        let object = json!({ "keys": asked.lock.keys, "token": report.token, "pid": keeper.id() });
        out::print(&format!("{object}\n"))?;
    }
    Ok(report.status)
}

/// What the keeper tells the process that has started it: one line.
struct KeeperReport {
    status: Status,
    said: Vec<String>,
    token: Option<u64>,
}

impl KeeperReport {
    fn line(&self) -> String {
        let status = u8::from(self.status);
        format!("{}\n", json!({ "status": status, "said": self.said, "token": self.token }))
    }

    fn read(line: &str) -> Option<Self> {
        let report: Value = serde_json::from_str(line).ok()?;
        let status = u8::try_from(report["status"].as_u64()?).ok()?;
        let said = report["said"].as_array()?.iter().filter_map(Value::as_str).map(str::to_owned);
        // Any status will do that ends the process with this number.
        let status = if status == 0 { Status::Done } else { Status::Exited(status) };
        Some(Self { status, said: said.collect(), token: report["token"].as_u64() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_was_written() {
        for (status, number) in [(Status::Done, 0), (Status::Conflict(9), 9), (Status::Failed, 125)]
        {
            let said = vec!["`a\n` is held".to_owned()];
            let line = KeeperReport { status, said: said.clone(), token: Some(u64::MAX) }.line();
            let read = KeeperReport::read(&line).unwrap();
            assert_eq!(
                (u8::from(read.status), read.said, read.token),
                (number, said, Some(u64::MAX))
            );
        }
        assert!(KeeperReport::read("").is_none() && KeeperReport::read("{}").is_none());
    }
}
