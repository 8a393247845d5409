//! What a peer can be told of files and processors, besides what any can.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use locks_file::FileBackend;
use rustix::process::{Signal, kill_process};

use crate::directory::{Directory, is_of, open_files, tell_directory, told_directory};
use crate::peer::obeying::{Locker, obey};
use crate::peer::words::{encoded, refused};
use crate::peer::{Asked, Peer, Refused, now};
use crate::program::program;

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
        // The first to open a directory waits for the disk, and the others do not wait for it for long.
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
    let backend = FileBackend::new(told_directory()).unwrap().into_backend();
    obey(backend, |locker, _, words| match words {
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
