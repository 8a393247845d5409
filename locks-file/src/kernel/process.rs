use std::fs;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// This process, as records name it.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// When it began, in the kernel's ticks: a process that has its number later has another.
    pub(crate) started: u64,
    /// What it is called.
    pub(crate) name: String,
}

static THIS: Mutex<Option<Arc<Process>>> = Mutex::new(None);

impl Process {
    /// This process; after a fork, the child.
    pub(crate) fn this() -> Arc<Self> {
        let pid = std::process::id();
        let mut this = THIS.lock().unwrap_or_else(PoisonError::into_inner);
        match &*this {
            Some(known) if known.pid == pid => known.clone(),
            _ => this.insert(Arc::new(Self::look_up(pid))).clone(),
        }
    }

    fn look_up(pid: u32) -> Self {
        let name = std::env::current_exe()
            .ok()
            .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .unwrap_or_default();
        Self { pid, started: started(pid).unwrap_or(0), name }
    }
}

/// Whoever has a number, as far as can be seen from here. To find that out takes a file to be read, so
/// it is done once for all that is compared with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) pid: u32,
    /// `None`: there is nobody, or nobody who can be seen.
    pub(crate) started: Option<u64>,
}

impl Seen {
    pub(crate) fn at(pid: u32) -> Self {
        Self { pid, started: started(pid) }
    }
}

/// When a process began; `None` if there is none by that number, or none that can be seen.
pub(crate) fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses as well. What follows it begins with the
    // third field; the start is the 22nd.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Which start of the machine this is; 0 where it does not say.
pub(crate) fn boot() -> u64 {
    static BOOT: LazyLock<u64> = LazyLock::new(|| {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits = id.chars().filter(char::is_ascii_hexdigit).take(16).collect::<String>();
        u64::from_str_radix(&digits, 16).unwrap_or(0)
    });
    *BOOT
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
    }
}
