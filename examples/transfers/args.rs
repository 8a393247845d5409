//! The command line.

use std::path::PathBuf;

use lexopt::prelude::*;

use crate::Failure;
use crate::workers::Share;

pub(crate) const HELP: &str = "\
Applies a ledger of transfers with many threads and tasks at once, and checks
that no cent was lost.

usage: transfers [LEDGER.csv] [--without-locks] [--threads N] [--tasks N]
                 [--processes N [--kill] [--backend URL]]
       transfers --generate ROWS [--accounts N] [--seed N] > LEDGER.csv

  LEDGER.csv        lines of `id,from,to,cents` below a header that says so
                    (default: the one that comes with the example)
  --without-locks   shows what goes wrong otherwise
  --threads N       threads, for one half of the transfers (default 8)
  --tasks N         tasks, for the other half (default 64)
  --processes N     in N processes, each with so many threads and tasks; the
                    balances are in files then, as are the locks
  --kill            kills processes at random while they work, and starts others
                    in their place; whoever serves is among them
  --backend URL     who arbitrates between processes: `file:` (the default),
                    `net:` (they serve each other), `unix:` (a server beside
                    them), `etcd:` (an etcd beside them), each in a directory
                    of the run's own, or any other; `net:` and `unix:` take the
                    feature `net` of the examples, `etcd:` the feature `etcd`
  --generate ROWS   writes a ledger instead, in which some accounts are hot
  --accounts N      accounts in that ledger (default 200)
  --seed N          another ledger of the same kind (default 1)
  --help            this

Ends with 0 if every balance is right (or was not protected), with 1 if one is
wrong under locks, with 2 if the job could not be done.
";

/// What the user wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Generate {
        rows: u64,
        accounts: u64,
        seed: u64,
    },
    Apply(Plan),
    /// What a process of several is started with; nobody else needs it.
    Work {
        plan: Plan,
        directory: PathBuf,
        share: Share,
    },
    /// What a server beside them is started with.
    Serve {
        directory: PathBuf,
    },
}

/// How to apply which ledger.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) ledger: PathBuf,
    pub(crate) locked: bool,
    pub(crate) threads: usize,
    pub(crate) tasks: usize,
    /// 0 for this one alone.
    pub(crate) processes: usize,
    pub(crate) kill: bool,
    /// Who arbitrates between the processes.
    pub(crate) backend: String,
}

pub(crate) fn parse() -> Result<Command, Failure> {
    parse_from(lexopt::Parser::from_env())
}

pub(crate) fn parse_from(mut parser: lexopt::Parser) -> Result<Command, Failure> {
    let mut ledger = None;
    let mut rows = None;
    let (mut accounts, mut seed) = (None, None);
    let (mut threads, mut tasks) = (None, None);
    let (mut processes, mut kill) = (None, false);
    let (mut directory, mut share) = (None, None);
    let mut backend = None;
    let mut locked = true;
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Help),
            Long("without-locks") => locked = false,
            Long("generate") => rows = Some(number(&mut parser, "generate", 1)?),
            Long("accounts") => accounts = Some(number(&mut parser, "accounts", 2)?),
            Long("seed") => seed = Some(number(&mut parser, "seed", 0)?),
            Long("threads") => threads = Some(number(&mut parser, "threads", 1)?),
            Long("tasks") => tasks = Some(number(&mut parser, "tasks", 1)?),
            Long("processes") => processes = Some(number(&mut parser, "processes", 1)?),
            Long("kill") => kill = true,
            Long("backend") => backend = Some(parser.value()?.string()?),
            Long("serve-in") => {
                return Ok(Command::Serve { directory: PathBuf::from(parser.value()?) });
            }
            Long("work-in") => directory = Some(PathBuf::from(parser.value()?)),
            Long("share") => share = parse_share(&parser.value()?.string()?),
            Value(path) if ledger.is_none() => ledger = Some(PathBuf::from(path)),
            other => return Err(format!("{}; see `--help`", other.unexpected()).into()),
        }
    }
    if let Some(rows) = rows {
        let workers = threads.or(tasks).or(processes);
        let rest = kill || !locked || backend.is_some();
        if ledger.is_some() || workers.is_some() || rest {
            return Err("`--generate` goes with `--accounts` and `--seed` only".into());
        }
        let (accounts, seed) = (accounts.unwrap_or(200), seed.unwrap_or(1));
        return Ok(Command::Generate { rows, accounts, seed });
    }
    if accounts.is_some() || seed.is_some() {
        return Err("`--accounts` and `--seed` go with `--generate` only".into());
    }
    if kill && processes.is_none() && share.is_none() {
        return Err("`--kill` goes with `--processes` only".into());
    }
    if backend.is_some() && processes.is_none() {
        return Err("`--backend` goes with `--processes` only; one process asks `LOCKS_URL`".into());
    }
    let plan = Plan {
        ledger: ledger.unwrap_or_else(enclosed_ledger),
        locked,
        threads: usize::try_from(threads.unwrap_or(8))?,
        tasks: usize::try_from(tasks.unwrap_or(64))?,
        processes: usize::try_from(processes.unwrap_or(0))?,
        kill,
        backend: backend.unwrap_or_else(|| "file:".to_owned()),
    };
    Ok(match (directory, share) {
        (Some(directory), Some(share)) => Command::Work { plan, directory, share },
        _ => Command::Apply(plan),
    })
}

/// `2/5`: the third of five.
fn parse_share(text: &str) -> Option<Share> {
    let (number, of) = text.split_once('/')?;
    Some(Share { number: number.parse().ok()?, of: of.parse().ok()? })
}

/// At most a million: a slip of the finger should not start a thread for each grain of sand.
fn number(parser: &mut lexopt::Parser, option: &str, least: u64) -> Result<u64, Failure> {
    let most = match option {
        "processes" => 100,
        "threads" => 1_000,
        _ => 10_000_000,
    };
    let value = parser.value()?.string()?;
    match value.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("`--{option}` wants a number from {least} to {most}").into()),
    }
}

/// The ledger that comes with the example, by the shortest path from here.
fn enclosed_ledger() -> PathBuf {
    let absolute = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/data/ledger.csv"));
    match std::env::current_dir() {
        Ok(here) => absolute.strip_prefix(here).map_or(absolute.clone(), PathBuf::from),
        Err(_) => absolute,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let words = line.split_whitespace();
        parse_from(lexopt::Parser::from_args(words)).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_what_the_help_offers() {
        assert_eq!(parsed("--help"), Ok(Command::Help));
        let plan = |processes, kill| Plan {
            ledger: "x.csv".into(),
            locked: false,
            threads: 3,
            tasks: 4,
            processes,
            kill,
            backend: "file:".into(),
        };
        let line = "x.csv --without-locks --threads=3 --tasks 4";
        assert_eq!(parsed(line), Ok(Command::Apply(plan(0, false))));
        let several = format!("{line} --processes 5 --kill");
        assert_eq!(parsed(&several), Ok(Command::Apply(plan(5, true))));
        let over_net = format!("{several} --backend net:");
        let expected = Plan { backend: "net:".into(), ..plan(5, true) };
        assert_eq!(parsed(&over_net), Ok(Command::Apply(expected)));
        let expected = Command::Serve { directory: "there".into() };
        assert_eq!(parsed("--serve-in there"), Ok(expected));
        let share = Share { number: 2, of: 5 };
        let expected = Command::Work { plan: plan(0, false), directory: "there".into(), share };
        assert_eq!(parsed(&format!("{line} --work-in there --share 2/5")), Ok(expected));
        let expected = Command::Generate { rows: 5, accounts: 200, seed: 9 };
        assert_eq!(parsed("--generate 5 --seed 9"), Ok(expected));
    }

    #[test]
    fn refuses_the_rest() {
        for line in [
            "--frobnicate",
            "a.csv b.csv",
            "--threads 0",
            "--threads x",
            "--seed 1",
            "a --generate 1",
            "--generate 1 --processes 2",
            "--processes 0",
            "--processes 101",
            "--kill",
            "--backend net:",
            "--generate 1 --backend net:",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
