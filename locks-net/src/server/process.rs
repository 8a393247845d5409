//! What the kernel says of other processes.

use std::fs;

/// When a process was started, in the kernel's clock ticks since the machine was: together with its
/// number it names one process. `None` if there is none, or none that can be seen.
pub(crate) fn started(pid: u32) -> Option<u64> {
    Stat::read(pid).map(|stat| stat.started)
}

/// What a process is called.
pub(crate) fn name(pid: u32) -> Option<String> {
    Stat::read(pid).map(|stat| stat.name)
}

/// Whether a process runs, or could if it were let: one that is a zombie does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    match Stat::read(pid) {
        Some(stat) => !matches!(stat.state, 'Z' | 'X'),
        // It may be there and not be for us to see.
        None => rustix::process::Pid::from_raw(pid.cast_signed()).is_some_and(|pid| {
            rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
        }),
    }
}

/// A process in words, for the beginning of a sentence: ``process 4711 (`worker`)``, and what keeps
/// it.
pub(crate) fn describe(pid: u32) -> String {
    let Some(stat) = Stat::read(pid) else {
        return match is_alive(pid) {
            // It is not for us to see.
            true => format!("process {pid}"),
            false => format!("process {pid}, which is gone,"),
        };
    };
    let state = match stat.state {
        'T' => format!(", which is stopped (`kill -CONT {pid}` lets it go on),"),
        't' => ", which is stopped by a debugger,".to_owned(),
        'Z' | 'X' => ", which has ended and was not waited for by its parent,".to_owned(),
        'D' => ", which waits for a disk,".to_owned(),
        _ => String::new(),
    };
    format!("process {pid} (`{}`){state}", stat.name)
}

/// What `/proc/<pid>/stat` says.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    state: char,
    started: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        // Of another namespace's `/proc`, in which a number is another process's.
        let own = fs::read_link("/proc/self").ok()?;
        if own.to_str() != Some(&*std::process::id().to_string()) {
            return None;
        }
        // A name need not be text.
        let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
        Self::parse(&String::from_utf8_lossy(&bytes))
    }

    /// `pid (name) state …`; the name may have parentheses in it.
    fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.rsplit_once(')')?;
        let (_, name) = before.split_once('(')?;
        let mut words = after.split_ascii_whitespace();
        let state = words.next()?.chars().next()?;
        let started = words.nth(18)?.parse().ok()?;
        Some(Self { name: name.to_owned(), state, started })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_by_its_start() {
        let own = std::process::id();
        assert!(started(own).is_some_and(|at| at > 0));
        assert_eq!(started(own), started(own));
        assert!(is_alive(own));
        assert_eq!(started(0), None);
    }

    #[test]
    fn names_may_have_parentheses_and_blanks() {
        let fields = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        let stat = Stat::parse(&format!("77 (a) b (c)) T {fields}")).unwrap();
        assert_eq!(stat, Stat { name: "a) b (c)".into(), state: 'T', started: 4242 });
        assert_eq!(Stat::parse("77 (a) T 1 2"), None);
    }

    #[test]
    fn n3_a_zombie_is_not_alive_and_is_described() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while is_alive(child.id()) {
            assert!(std::time::Instant::now() < deadline, "`true` does not end");
            std::thread::yield_now();
        }
        assert!(describe(child.id()).contains("has ended"), "{}", describe(child.id()));
        child.wait().unwrap();
        assert!(describe(child.id()).contains("gone"), "{}", describe(child.id()));
    }
}
