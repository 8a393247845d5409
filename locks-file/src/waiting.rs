//! Who waits in which process, for lists (C12): a file of each process that waits for longer than a
//! moment, which whoever lists reads.

use std::fmt::Write as _;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use locks_core::{LockInfo, Mode, WaiterInfo};

use crate::directory::{Directory, Inode};
use crate::kernel::{self, Nanos, Opened, Process};
use crate::name::{self, WAITS};
use crate::record::{HolderText, tell};

/// How often a file is made anew that was taken for a dead process's before it was locked.
const TRIES: usize = 8;

/// The waits of this process that other processes can read.
#[derive(Debug)]
pub(crate) struct Waits {
    process: Arc<Process>,
    published: Mutex<PublishedWaits>,
}

#[derive(Debug, Default)]
struct PublishedWaits {
    file: Option<WaitingFile>,
    next: u64,
    lines: Vec<(u64, String)>,
}

/// The file of this process.
#[derive(Debug)]
struct WaitingFile {
    file: Opened,
    name: String,
    directory: Arc<Directory>,
}

/// A wait that other processes can read, until it is dropped.
#[derive(Debug)]
pub(crate) struct PublishedWait {
    waits: Arc<Waits>,
    /// That of the process that began it: a forked child leaves the file to it.
    generation: u64,
    id: u64,
}

impl Waits {
    /// None so far, of this process.
    pub(crate) fn new(process: Arc<Process>) -> Arc<Self> {
        Arc::new(Self { process, published: Mutex::default() })
    }

    /// Publishes a wait; where it cannot be written, it is not listed.
    pub(crate) fn publish(
        self: &Arc<Self>,
        directory: &Arc<Directory>,
        key: &str,
        exclusive: bool,
        since: Nanos,
        about: &HolderText,
    ) -> Option<PublishedWait> {
        let mut line =
            format!("{} since {since} key ", if exclusive { "exclusive" } else { "shared" });
        name::push_escaped(&mut line, key);
        let _ = write!(line, " by {}", about.as_str());
        let mut published = self.published();
        let known =
            published.file.as_ref().filter(|place| Arc::ptr_eq(&place.directory, directory));
        if known.is_none_or(WaitingFile::is_gone) {
            published.file = Some(WaitingFile::make(directory, &self.process)?);
        }
        let id = published.next;
        published.next += 1;
        published.lines.push((id, line));
        published.write();
        Some(PublishedWait { waits: self.clone(), generation: kernel::generation(), id })
    }

    /// Adds those who wait in other processes; the engine knows those of this one.
    pub(crate) fn add_to(&self, directory: &Directory, found: &mut Vec<LockInfo>) {
        let now = kernel::now();
        let own = self.published().file.as_ref().map(|place| place.file.inode);
        for waits in of_others(directory) {
            let Some(mut file) = waits.open(directory, own, &self.process) else { continue };
            let mut text = String::new();
            let read = file.read_to_string(&mut text);
            let Some(lines) = read.ok().and_then(|_| body(&text)) else { continue };
            for (key, mut waiter) in lines.lines().filter_map(|line| waiter(line, waits.pid, now)) {
                waiter.party.unseen = !self.process.can_see(waits.space);
                match found.iter_mut().find(|info| info.key == key) {
                    Some(info) => info.waiters.push(waiter),
                    None => {
                        let mut info = LockInfo::new(key);
                        info.waiters.push(waiter);
                        found.push(info);
                    }
                }
            }
        }
    }

    /// Removes the file: the process has no more waits to publish.
    pub(crate) fn close(&self) {
        if let Some(place) = self.published().file.take() {
            let _ = place.directory.root.remove(&place.name);
        }
    }

    fn published(&self) -> MutexGuard<'_, PublishedWaits> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PublishedWaits {
    fn write(&self) {
        let Some(WaitingFile { file, .. }) = &self.file else { return };
        let mut text = String::new();
        for (_, line) in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        let text = format!("waits1 {:08x}\n{text}", crc32fast::hash(text.as_bytes()));
        // Should it fail, what is there is torn or out of date, and says less than it could.
        let _ =
            file.write_all_at(text.as_bytes(), 0).and_then(|()| file.set_len(text.len() as u64));
    }
}

impl WaitingFile {
    /// A new file, which others do not take for one that a dead process has left.
    fn make(directory: &Arc<Directory>, process: &Process) -> Option<Self> {
        // A process that ends leaves its own: should nobody ever list, they would only get more.
        clean(directory, process);
        for _ in 0..TRIES {
            let name = new_name(process);
            let file = directory.make_file(&name).ok()?;
            let place = Self { file, name, directory: directory.clone() };
            // Those who cannot see this process remove what they find unlocked, and have it locked
            // while they do: what is there once it is locked stays.
            if fs4::FileExt::try_lock(&*place.file).is_ok() && !place.is_gone() {
                return Some(place);
            }
            let _ = directory.root.remove(&place.name);
        }
        None
    }

    /// Whether it has been removed, so that nobody finds it.
    fn is_gone(&self) -> bool {
        self.directory.root.inode_at(&self.name).is_ok_and(|there| there != Some(self.file.inode))
    }
}

impl PublishedWait {
    /// Publishes the waits again where their file was removed (F10).
    pub(crate) fn renew(&self) {
        let mut published = self.waits.published();
        let Some(gone) = published.file.as_ref().filter(|place| place.is_gone()) else { return };
        if let Some(place) = WaitingFile::make(&gone.directory, &self.waits.process) {
            published.file = Some(place);
            published.write();
        }
    }
}

impl Drop for PublishedWait {
    fn drop(&mut self) {
        if kernel::generation() != self.generation {
            return;
        }
        let mut published = self.waits.published();
        published.lines.retain(|(id, _)| *id != self.id);
        published.write();
    }
}

/// A process can have several backends on one directory, each with its waits. Where there is no
/// `/proc`, only the time tells it from others.
fn new_name(process: &Process) -> String {
    let now = kernel::now();
    format!("{WAITS}{}-{}-{}-{now}", process.space, process.pid, process.started)
}

/// Removes what processes have left that are no more.
pub(crate) fn clean(directory: &Directory, here: &Process) {
    for waits in of_others(directory) {
        let _ = waits.open(directory, None, here);
    }
}

/// The file of a process that tells whom it has waiting.
#[derive(Debug, PartialEq, Eq)]
struct Theirs {
    name: String,
    /// 0: unknown.
    space: u64,
    pid: u32,
    started: u64,
}

impl Theirs {
    /// The file, of another process or of another backend of this one; one whose process is no more
    /// is removed. A process that could not be seen from here has it locked (F11).
    fn open(
        &self,
        directory: &Directory,
        own: Option<Inode>,
        here: &Process,
    ) -> Option<std::fs::File> {
        let file = directory.root.open_to_read(&self.name).ok()?;
        if own.is_some() && Inode::of(&file).ok() == own {
            return None;
        }
        let is_left = match self.space == here.space && here.can_see(self.space) {
            true => !kernel::lives(self.pid, self.started),
            false => fs4::FileExt::try_lock_shared(&file).is_ok(),
        };
        if is_left {
            // Should it fail, the next one does it.
            let _ = directory.root.remove(&self.name);
        }
        (!is_left).then_some(file)
    }

    fn named(name: &str) -> Option<Self> {
        let numbers = name.strip_prefix(WAITS)?.split('-').map(|number| number.parse::<u64>().ok());
        let numbers = numbers.collect::<Option<Vec<_>>>()?;
        let (space, pid, started) = match numbers[..] {
            [space, pid, started, _] => (space, pid, started),
            // Of an earlier version.
            [pid, started, _] => (0, pid, started),
            _ => return None,
        };
        Some(Self { name: name.to_owned(), space, pid: pid.try_into().ok()?, started })
    }
}

fn of_others(directory: &Directory) -> impl Iterator<Item = Theirs> {
    let names = directory.root.names().unwrap_or_default();
    names.into_iter().filter_map(|name| Theirs::named(&name))
}

fn body(text: &str) -> Option<&str> {
    let (sum, body) = text.strip_prefix("waits1 ")?.split_once('\n')?;
    let sum = u32::from_str_radix(sum, 16).ok()?;
    (sum == crc32fast::hash(body.as_bytes())).then_some(body)
}

fn waiter(line: &str, pid: u32, now: Nanos) -> Option<(String, WaiterInfo)> {
    let (numbers, about) = line.split_once(" by ")?;
    let mut words = numbers.split_ascii_whitespace();
    let mode = if words.next()? == "exclusive" { Mode::Exclusive } else { Mode::Shared };
    let since: Nanos = words.nth(1)?.parse().ok()?;
    let key = name::unescape(words.nth(1)?)?;
    let mut waiter = WaiterInfo::new(mode, Duration::from_nanos(now.saturating_sub(since)));
    (waiter.party, waiter.who, waiter.label) = tell(about, pid);
    Some((key, waiter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f11_a_file_of_waits_is_known_by_its_name() {
        let named = |space| Theirs { name: String::new(), space, pid: 7, started: 99 };
        for (name, known) in [(".waiting-3-7-99-0", named(3)), (".waiting-7-99-0", named(0))] {
            assert_eq!(Theirs::named(name), Some(Theirs { name: name.into(), ..known }));
        }
        assert_eq!(Theirs::named(".waiting-7-x-0"), None);
    }

    /// Whoever lists in another pid namespace, where this process cannot be seen, finds a file
    /// between its being made and its being locked.
    #[test]
    fn f11_a_file_of_waits_is_there_although_others_list() {
        const FILES: usize = 500;
        let path = std::env::temp_dir().join(format!("locks-file-waits-{}", std::process::id()));
        let settings = crate::directory::Settings::default();
        let directory = Arc::new(Directory::open(&path, settings).unwrap());
        let this = Process::this();
        let elsewhere =
            Process { space: 1, started: 1, name: String::new(), in_proc: None, ..*this };
        let done = std::sync::atomic::AtomicBool::new(false);
        let made = std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        clean(&directory, &elsewhere);
                    }
                });
            }
            let made = (0..FILES).filter_map(|_| WaitingFile::make(&directory, &this));
            let made = Vec::from_iter(made.map(|place| {
                let there = !place.is_gone();
                let _ = directory.root.remove(&place.name);
                there
            }));
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            made
        });
        std::fs::remove_dir_all(&path).unwrap();
        assert!(!made.is_empty() && made.iter().all(|there| *there), "{made:?}");
    }

    #[test]
    fn c12_what_is_told_is_read() {
        let line = "shared since 1000 key a%20b by l\tp\tthread `x`\tsrc/a.rs:1";
        let (key, told) = waiter(line, 7, 3000).unwrap();
        assert_eq!((key.as_str(), told.mode), ("a b", Mode::Shared));
        assert_eq!(told.waited, Duration::from_nanos(2000));
        assert_eq!((told.party.pid, told.who.as_deref()), (Some(7), Some("thread `x`")));
        assert_eq!(told.party.site.as_deref(), Some("src/a.rs:1"));
        let text = format!("{line}\n");
        let whole = format!("waits1 {:08x}\n{text}", crc32fast::hash(text.as_bytes()));
        assert_eq!(body(&whole), Some(&*text));
        assert_eq!(body(&whole[..whole.len() - 2]), None);
    }
}
