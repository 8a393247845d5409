//! What a peer can be told of files and processors, besides what any can.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use locks_core::{Query, Token};
use locks_file::FileBackend;
use rustix::process::{Signal, kill_process};

use crate::directory::{Directory, is_of, open_files, tell_directory, told_directory};
use crate::peer::obeying::{Locker, obey};
use crate::peer::words::{decoded, encoded, refused};
use crate::peer::{Asked, Peer, Refused, now};
use crate::program::program;

/// Whether several users share the directory.
pub(crate) const SEVERAL: &str = "LOCKS_FILE_SEVERAL";

/// A visit that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    pub(crate) token: u64,
    pub(crate) from: u64,
    pub(crate) until: u64,
    pub(crate) lost: bool,
}

impl Peer {
    pub(crate) fn start(directory: &Directory) -> Self {
        Self::start_as(program("peer"), directory)
    }

    /// A peer that something else starts.
    pub(crate) fn start_as(mut command: Command, directory: &Directory) -> Self {
        // The first to open a directory waits for the disk, and the others do not wait for it for
        // long.
        drop(directory.client());
        tell_directory(&mut command, directory.path());
        Self::run(command)
    }

    pub(crate) fn start_many<const N: usize>(directory: &Directory) -> [Self; N] {
        std::array::from_fn(|_| Self::start(directory))
    }

    /// Takes `key`, stays for this long, and goes.
    pub(crate) fn visit(&mut self, key: &str, stays: Duration, options: &str) -> Asked {
        self.ask(&format!("visit {} {} {options}", stays.as_micros(), encoded(key)))
    }

    /// What it lists of `key`, in words.
    #[track_caller]
    pub(crate) fn list(&mut self, key: &str) -> String {
        let reply = self.ask(&format!("list {}", encoded(key))).reply();
        reply.strip_prefix("listed ").unwrap_or_else(|| panic!("{reply}")).to_owned()
    }

    /// Whether it has ended the hold or the reservation with this token.
    #[track_caller]
    pub(crate) fn evict(&mut self, key: &str, token: u64) -> Result<bool, Refused> {
        match &*self.ask(&format!("evict {} {token}", encoded(key))).reply() {
            "evicted true" => Ok(true),
            "evicted false" => Ok(false),
            reply => Err(Refused::of(reply)),
        }
    }

    /// Removes what nobody uses: how many files are gone, and how many left.
    #[track_caller]
    pub(crate) fn clean(&mut self) -> String {
        self.ask("clean").reply()
    }

    /// Has it lock this very file until it ends; see [`lock_a_file`](crate::forked::lock_a_file).
    pub(crate) fn lock_file(&mut self, how: &str, file: &Path, millis: u64) -> Asked {
        self.ask(&format!("lock-file {how} {millis} {}", encoded(file.to_str().unwrap())))
    }

    /// Has it run a program, and waits for that.
    #[track_caller]
    pub(crate) fn run_program(&mut self, program: &str) {
        assert_eq!(self.ask(&format!("run {program}")).reply(), "ran true", "`{program}`");
    }

    /// Stops it, and returns at once.
    pub(crate) fn send_stop(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    /// For how long it has kept processors busy.
    pub(crate) fn processor_time(&self) -> Duration {
        let spent = self.of_each_task("schedstat", |spent| spent.split(' ').next()?.parse().ok());
        Duration::from_nanos(spent)
    }

    /// How often its threads have been woken.
    pub(crate) fn wakeups(&self) -> u64 {
        self.of_each_task("status", |status| {
            let slept =
                status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            slept?.trim().parse().ok()
        })
    }

    /// Whether it has the lock of `file`, as the kernel says. Trying the lock would be in its way,
    /// and a child that is being forked here would keep what was tried.
    pub(crate) fn has_locked(&self, file: &Path) -> bool {
        let Ok(about) = std::fs::metadata(file) else { return false };
        let table = std::fs::read_to_string("/proc/locks").unwrap();
        let its = format!(" {} ", self.pid());
        let of_file = format!(":{} ", about.ino());
        table.lines().any(|line| {
            line.contains(" FLOCK ")
                && !line.contains("->")
                && line.contains(&its)
                && line.contains(&of_file)
        })
    }

    /// Its descriptors of what was created as `file`.
    pub(crate) fn descriptors_of(&self, file: &Path) -> Vec<i32> {
        let open = open_files(&self.pid().as_raw_nonzero().to_string()).into_iter();
        open.filter(|(_, open)| is_of(open, file)).map(|(number, _)| number).collect()
    }

    /// The sum of what is read from a file of each of its threads.
    fn of_each_task(&self, file: &str, read: impl Fn(&str) -> Option<u64>) -> u64 {
        let tasks =
            std::fs::read_dir(format!("/proc/{}/task", self.pid().as_raw_nonzero())).unwrap();
        let texts =
            tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join(file)).ok());
        texts.filter_map(|text| read(&text)).sum()
    }
}

impl Asked {
    #[track_caller]
    pub(crate) fn visited(&self) -> Result<Visit, Refused> {
        let reply = self.reply();
        match *reply.split(' ').collect::<Vec<_>>() {
            ["visited", token, from, until, verdict] => Ok(Visit {
                token: token.parse().unwrap(),
                from: from.parse().unwrap(),
                until: until.parse().unwrap(),
                lost: verdict == "lost",
            }),
            _ => Err(Refused::of(&reply)),
        }
    }
}

// The process's end.

pub(crate) fn serve() {
    let files = FileBackend::builder(told_directory());
    let files = match std::env::var_os(SEVERAL) {
        Some(_) => files.of_several_users(),
        None => files,
    };
    let files = files.open().unwrap();
    obey(files.clone().into_backend(), move |locker, _, words| match words {
        ["list", key] => Some(match locker.backend.inspect(Query::Key(decoded(key))).block() {
            Ok(found) => {
                let found = found.iter().map(ToString::to_string).collect::<Vec<_>>();
                format!("listed {}", found.join(" "))
            }
            Err(error) => refused(&error),
        }),
        ["evict", key, token] => {
            let token = Token::new(token.parse().unwrap());
            Some(match locker.backend.evict(&decoded(key), token).block() {
                Ok(was_there) => format!("evicted {was_there}"),
                Err(error) => refused(&error),
            })
        }
        ["clean"] => Some(match files.clean(Duration::ZERO) {
            Ok(cleaned) => format!("removed {} kept {}", cleaned.removed, cleaned.kept),
            Err(error) => refused(&error),
        }),
        ["chroot", place] => {
            std::os::unix::fs::chroot(place).unwrap();
            Some("done".to_owned())
        }
        ["lock-file", how, millis, file] => {
            let locked = crate::forked::lock_a_file(how, &decoded(file), millis.parse().unwrap());
            Some(locked.map_or_else(|error| refused(&error), |()| "locked".to_owned()))
        }
        ["fork"] => Some(crate::forked::fork_a_sleeper()),
        ["run", program @ ..] => {
            let status = Command::new(program[0]).args(&program[1..]).status().unwrap();
            Some(format!("ran {}", status.success()))
        }
        ["visit", micros, keys, options @ ..] => {
            Some(visit(locker, micros.parse().unwrap(), keys, options))
        }
        ["spawn", program @ ..] => {
            let mut command = Command::new(program[0]);
            // It outlives whoever started it, and must not keep its output open.
            command.args(&program[1..]).stdin(Stdio::null()).stdout(Stdio::null());
            Some(format!("spawned {}", command.stderr(Stdio::null()).spawn().unwrap().id()))
        }
        _ => None,
    });
}

/// Takes it, stays for a while, and goes.
fn visit(locker: &Locker, micros: u64, keys: &str, options: &[&str]) -> String {
    let guard = match locker.lock(keys, options).acquire() {
        Ok(guard) => guard,
        Err(error) => return refused(&error),
    };
    let (token, from) = (guard.token(), now());
    thread::sleep(Duration::from_micros(micros));
    let until = now();
    let verdict = match guard.release() {
        Ok(()) => "kept",
        Err(error) if error.is_lost() => "lost",
        Err(error) => return refused(&error),
    };
    format!("visited {token} {from} {until} {verdict}")
}
