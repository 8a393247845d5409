//! Who waits in which process, for lists (C12): a file of each process that waits for longer than a
//! moment, which whoever lists reads.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use locks_core::{LockInfo, Mode, WaiterInfo};

use crate::directory::{Directory, open_existing};
use crate::files::Files;
use crate::kernel::{self, Nanos, Process};
use crate::name;
use crate::record::{About, tell};

/// What the names of these files begin with; the process's number, its start and a number follow.
const PREFIX: &str = ".waiting-";

/// The waits of this process that others are told of.
#[derive(Debug, Default)]
pub(crate) struct Waits(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    file: Option<(File, PathBuf)>,
    next: u64,
    lines: Vec<(u64, String)>,
}

/// A wait that others are told of, until it is dropped.
#[derive(Debug)]
pub(crate) struct ToldWait {
    files: Arc<Files>,
    id: u64,
}

impl Waits {
    /// Tells others of a wait. Where that cannot be written down they are not told.
    pub(crate) fn tell(
        files: &Arc<Files>,
        key: &str,
        exclusive: bool,
        since: Nanos,
        about: &About,
    ) -> Option<ToldWait> {
        let mut line =
            format!("{} since {since} key ", if exclusive { "exclusive" } else { "shared" });
        name::push_escaped(&mut line, key);
        let _ = write!(line, " by {}", about.as_str());
        let mut told = files.waits.told();
        if told.file.is_none() {
            // A process that ends leaves its own: should nobody ever list, they would only get more.
            clean(&files.directory);
            let path = files.directory.file(&new_name(&files.process));
            told.file = Some((files.directory.make_file(&path).ok()?, path));
        }
        let id = told.next;
        told.next += 1;
        told.lines.push((id, line));
        told.write();
        Some(ToldWait { files: files.clone(), id })
    }

    /// The process has no more to tell.
    pub(crate) fn close(&self) {
        if let Some((_, path)) = self.told().file.take() {
            let _ = fs::remove_file(path);
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn write(&self) {
        let Some((file, _)) = &self.file else { return };
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

impl Drop for ToldWait {
    fn drop(&mut self) {
        if self.files.is_forked() {
            return;
        }
        let mut told = self.files.waits.told();
        told.lines.retain(|(id, _)| *id != self.id);
        told.write();
    }
}

/// A process can have several backends on one directory, each with its waits.
fn new_name(process: &Process) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{}-{number}", process.pid, process.started)
}

/// Adds those who wait in other processes; the engine knows those of this one.
pub(crate) fn add_to(files: &Files, found: &mut Vec<LockInfo>) {
    let now = kernel::now();
    for (path, pid, started) in of_others(&files.directory) {
        if Some(started) != kernel::started(pid) {
            let _ = fs::remove_file(path);
            continue;
        }
        let mut text = String::new();
        let read = open_existing(&path).and_then(|mut file| file.read_to_string(&mut text));
        let Some(lines) = read.ok().and_then(|_| body(&text)) else { continue };
        if pid == files.process.pid {
            // Another backend of this process: what belongs to this one the engine tells.
            let own = files.waits.told().file.as_ref().is_some_and(|(_, own)| *own == path);
            if own {
                continue;
            }
        }
        for (key, waiter) in lines.lines().filter_map(|line| waiter(line, pid, now)) {
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

/// Removes what processes have left that are no more.
pub(crate) fn clean(directory: &Directory) {
    for (path, pid, started) in of_others(directory) {
        if Some(started) != kernel::started(pid) {
            let _ = fs::remove_file(path);
        }
    }
}

fn of_others(directory: &Directory) -> Vec<(PathBuf, u32, u64)> {
    let entries = fs::read_dir(&directory.path).into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| {
        let name = entry.file_name();
        let mut numbers = name.to_str()?.strip_prefix(PREFIX)?.split('-');
        let (pid, started) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        Some((entry.path(), pid, started))
    });
    found.collect()
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
    (waiter.party, waiter.who) = tell(about, pid);
    Some((key, waiter))
}

#[cfg(test)]
mod tests {
    use super::*;

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
