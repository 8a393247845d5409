use std::fs;
use std::io::{self, Read};

use super::Seen;
use crate::directory::Inode;

/// How much the kernel tells at once, less a line, and how often to read what is longer: measured,
/// two readings in a row leave out the same lock once in hundreds of times on a busy machine.
const PIECE: usize = 3_900;
const READINGS: usize = 4;

/// The kernel's table of file locks, as far as it concerns `flock`.
#[derive(Debug, Default)]
pub(crate) struct LockTable {
    held: Vec<(Inode, Grip)>,
}

/// One process's `flock` on a file, or several that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Grip {
    pub(crate) pid: u32,
    pub(crate) exclusive: bool,
    /// Whether it only waits in the kernel: users of blocking `flock`.
    pub(crate) waits: bool,
}

impl LockTable {
    /// The table as it is now: all that is held all along is there, unless others come and go at a
    /// great rate.
    ///
    /// The kernel tells as much as a page holds at a time, and goes on by number: if one of those
    /// that it has told of is taken off meanwhile, the next is passed over. So a long table is read
    /// again and again.
    ///
    /// # Errors
    /// Where there is none: only Linux shows it.
    pub(crate) fn read() -> io::Result<Self> {
        let mut text = Vec::with_capacity(1 << 14);
        let mut table = Self::default();
        for _ in 0..READINGS {
            text.clear();
            fs::File::open("/proc/locks")?.read_to_end(&mut text)?;
            table.add(&String::from_utf8_lossy(&text));
            if text.len() <= PIECE {
                break;
            }
        }
        if text.len() > PIECE {
            table.held.sort_unstable();
            table.held.dedup();
        }
        Ok(table)
    }

    /// Lines such as `3: FLOCK  ADVISORY  WRITE 3093 fe:00:10011839 0 EOF`, and with `->` before
    /// the kind those who wait.
    fn add(&mut self, text: &str) {
        let found = text.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace().skip(1).peekable();
            let waits = words.next_if_eq(&"->").is_some();
            if words.next()? != "FLOCK" {
                return None;
            }
            let exclusive = words.nth(1)? == "WRITE";
            let pid = words.next()?.parse().ok()?;
            let mut place = words.next()?.split(':');
            let major = u32::from_str_radix(place.next()?, 16).ok()?;
            let minor = u32::from_str_radix(place.next()?, 16).ok()?;
            let ino = place.next()?.parse().ok()?;
            let dev = rustix::fs::makedev(major, minor);
            Some((Inode { dev, ino }, Grip { pid, exclusive, waits }))
        });
        self.held.extend(found);
    }

    /// Who has, or waits for, this file.
    pub(crate) fn of(&self, inode: Inode) -> impl Iterator<Item = Grip> {
        self.held.iter().filter(move |(held, _)| *held == inode).map(|(_, grip)| *grip)
    }

    /// The processes that have this file, each once, and whether it has it alone.
    pub(crate) fn holders(&self, inode: Inode) -> Vec<(Seen, bool)> {
        let mut holders: Vec<(Seen, bool)> = Vec::new();
        for Grip { pid, exclusive, .. } in self.of(inode).filter(|grip| !grip.waits) {
            match holders.iter_mut().find(|(known, _): &&mut (Seen, bool)| known.pid == pid) {
                Some((_, alone)) => *alone |= exclusive,
                None => holders.push((Seen::at(pid), exclusive)),
            }
        }
        holders
    }

    /// The devices that a process holds a file of this number on.
    pub(crate) fn devices_of(&self, ino: u64, pid: u32) -> impl Iterator<Item = u64> {
        let found = self.held.iter().filter(move |(held, grip)| held.ino == ino && grip.pid == pid);
        found.map(|(held, _)| held.dev)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn the_table_is_understood() {
        let mut table = LockTable::default();
        table.add(
            "1: FLOCK  ADVISORY  WRITE 3093 fe:00:10011839 0 EOF\n\
             1: -> FLOCK  ADVISORY  READ 77 fe:00:10011839 0 EOF\n\
             2: POSIX  ADVISORY  READ 12 fe:00:10011839 128 128\n\
             3: FLOCK  ADVISORY  READ 12 00:1a:7 0 EOF\n\
             4: nonsense\n",
        );
        let inode = Inode { dev: rustix::fs::makedev(0xfe, 0), ino: 10_011_839 };
        let grips = table.of(inode).collect::<Vec<_>>();
        let held = Grip { pid: 3093, exclusive: true, waits: false };
        assert_eq!(grips, [held, Grip { pid: 77, exclusive: false, waits: true }]);
        assert_eq!(table.devices_of(7, 12).collect::<Vec<_>>(), [rustix::fs::makedev(0, 0x1a)]);
    }

    #[test]
    fn f3_a_lock_that_lasts_is_seen_whatever_comes_and_goes() {
        let dir = std::env::temp_dir().join(format!("locks-table-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let locked = |name: String| {
            let file = fs::File::create(dir.join(name)).unwrap();
            fs4::FileExt::lock(&file).unwrap();
            file
        };
        let (lasting, over) = (locked("lasting".into()), AtomicBool::new(false));
        let inode = Inode::of(&lasting).unwrap();
        thread::scope(|scope| {
            for thread in 0..4 {
                let (locked, over) = (&locked, &over);
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        drop((0..60).map(|n| locked(format!("{thread}-{n}"))).collect::<Vec<_>>());
                    }
                });
            }
            let seen = (0..300).filter(|_| {
                let table = LockTable::read().unwrap();
                table.held.iter().any(|(held, _)| held.ino == inode.ino)
            });
            let seen = seen.count();
            over.store(true, Ordering::Relaxed);
            assert_eq!(seen, 300);
        });
        fs::remove_dir_all(dir).unwrap();
    }
}
