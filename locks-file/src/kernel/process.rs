use std::cell::OnceCell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use locks_core::fork::PerProcess;

/// The number of the pid namespace that the machine starts with (`PROC_PID_INIT_INO`).
const FIRST: u64 = 0xeffffffc;

/// This process, as records name it, and what it can see of others.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// The pid namespace in which it has that number; 0: unknown.
    pub(crate) space: u64,
    /// When it began, in the kernel's ticks: a process that has its number later has another.
    pub(crate) started: u64,
    /// What it is called.
    pub(crate) name: String,
    /// Its number where `/proc` counts, which can be another namespace; `None`: there is no
    /// `/proc`.
    pub(crate) in_proc: Option<u32>,
}

static THIS: PerProcess<Arc<Process>> = PerProcess::new();

impl Process {
    /// This process; after a fork, the child.
    pub(crate) fn this() -> Arc<Self> {
        THIS.get_or_init(|| Arc::new(Self::look_up())).clone()
    }

    fn look_up() -> Self {
        let name = std::env::current_exe()
            .ok()
            .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .unwrap_or_default();
        let in_proc = fs::read_link("/proc/self").ok();
        let in_proc = in_proc.and_then(|pid| pid.to_str()?.parse().ok());
        Self {
            pid: std::process::id(),
            space: space_of("self").unwrap_or(0),
            started: started_of("self").unwrap_or(0),
            name,
            in_proc,
        }
    }

    /// Whether a process that runs in this pid namespace could be seen from here: then one that is
    /// not there is dead. One that cannot be seen is neither dead nor absent (F11).
    pub(crate) fn can_see(&self, space: u64) -> bool {
        self.sees_all() || self.in_proc == Some(self.pid) && self.space == space && space != 0
    }

    /// Whether every process of the machine can be seen from here.
    pub(crate) fn sees_all(&self) -> bool {
        self.in_proc == Some(self.pid) && self.space == FIRST
    }
}

/// Whoever has a number, as far as can be seen from here. To find that out takes files to be read,
/// so it is done once for all that is compared with it, and when it is needed.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The number, where `/proc` counts.
    pub(crate) pid: u32,
    /// `None`: there is nobody, or nobody who can be seen.
    started: Option<u64>,
    /// Its number in the namespace it runs in.
    inner: OnceCell<Option<u32>>,
}

impl Seen {
    pub(crate) fn at(pid: u32) -> Self {
        Self { pid, started: started(pid), inner: OnceCell::new() }
    }

    /// Whether it is the process that has this number in its own namespace, and began then.
    pub(crate) fn is(&self, pid: u32, space: u64, began: u64, here: &Process) -> bool {
        let is_numbered = if space == here.space && here.in_proc == Some(here.pid) {
            pid == self.pid
        } else {
            *self.inner.get_or_init(|| inner_pid(self.pid)) == Some(pid)
        };
        // Where either side had no `/proc` to tell by, the number has to do.
        is_numbered
            && self.started.is_none_or(|started| began == 0 || is_same_start(started, began))
    }
}

/// Two of the kernel's ticks may be one of another time namespace's.
fn is_same_start(one: u64, other: u64) -> bool {
    one.abs_diff(other) <= 1
}

/// Whether the process that has this number here, and began then, is there still.
pub(crate) fn lives(pid: u32, began: u64) -> bool {
    started(pid).is_some_and(|started| is_same_start(started, began))
}

/// When a process began, whatever this process's time namespace; `None` if there is none by that
/// number, or none that can be seen.
pub(crate) fn started(pid: u32) -> Option<u64> {
    started_of(&pid.to_string())
}

fn started_of(process: &str) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses as well. What follows it begins with
    // the third field; the start is the 22nd.
    let (_, fields) = stat.rsplit_once(')')?;
    let started: u64 = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(started.saturating_add_signed(-super::time::ticks_ahead()))
}

/// The number that a process has in the namespace it runs in: the last of those that it has.
fn inner_pid(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_ascii_whitespace().next_back()?.parse().ok()
}

/// The pid namespace that a process runs in.
fn space_of(process: &str) -> Option<u64> {
    Some(fs::metadata(format!("/proc/{process}/ns/pid")).ok()?.ino())
}

/// Which start of the machine this is; 0 where it does not say.
pub(crate) fn boot() -> u64 {
    static BOOT: PerProcess<u64> = PerProcess::new();
    *BOOT.get_or_init(|| {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits = id.chars().filter(char::is_ascii_hexdigit).take(16).collect::<String>();
        u64::from_str_radix(&digits, 16).unwrap_or(0)
    })
}

/// Whether what was written during the boot `recorded`, into this file, was written since the
/// machine started. Where either side had no `/proc` to tell by, the file's time stamp has to do.
pub(crate) fn is_of_this_boot(recorded: u64, file: &fs::File) -> bool {
    if recorded != 0 && boot() != 0 {
        return recorded == boot();
    }
    let written = file.metadata().and_then(|metadata| metadata.modified());
    written.is_ok_and(|written| written >= super::time::started_at())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start() {
        let this = Process::this();
        assert_eq!(this.pid, std::process::id());
        assert_ne!(this.started, 0);
        assert_eq!(started(this.pid), Some(this.started));
        assert_eq!(started(u32::MAX), None);
        assert_ne!(boot(), 0);
        let seen = Seen::at(this.pid);
        assert!(seen.is(this.pid, this.space, this.started, &this));
        assert!(!seen.is(this.pid, this.space, this.started + 2, &this));
        assert!(!seen.is(this.pid + 1, this.space, this.started, &this));
        // As if it had a namespace of its own, in which it happens to have the same number.
        assert!(seen.is(this.pid, this.space + 1, this.started, &this));
    }
}
