//! What happened around a key, in the order in which it did: a file that everybody appends to.
//!
//! An entry is written once the lock is held, and an exit before it is released; so two that are
//! inside at once by this file have been inside at once.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::peer::now;

/// Every record has this size: none lies across the border of two pages, where a kill could tear
/// it.
const SIZE: usize = 128;

/// A hold: a life of a process, a thread of it, and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HoldId {
    pub(crate) life: u32,
    pub(crate) thread: u32,
    pub(crate) serial: u64,
}

/// What somebody has come in with. Times are nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) hold: HoldId,
    pub(crate) shared: bool,
    /// 0 for outsiders.
    pub(crate) token: u64,
    /// When it was asked for: it was granted after this.
    pub(crate) asked: u64,
    /// The age at which it steals.
    pub(crate) steals: Option<u64>,
    /// How long it reserves the key.
    pub(crate) least: u64,
    /// Whether it is one of several keys, which are lost together.
    pub(crate) of_set: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is about to ask for the lock, and to steal it at this age.
    Tries { hold: HoldId, steals: u64 },
    /// It was refused or gave up, whatever it had done by then.
    Withdrew { hold: HoldId },
    /// It has the lock.
    Entered(Entry),
    /// It goes: whether it knew, when it last looked, that the lock was lost.
    Left { hold: HoldId, looked: u64, lost: bool },
    /// The lock is released, or turned out to be lost.
    Released { hold: HoldId, lost: bool },
    /// A process is about to be killed.
    Killing { life: u32 },
    /// The lock file is about to be deleted.
    Deleting,
    /// It has been.
    Deleted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// When it was written, or a little earlier.
    pub(crate) at: u64,
    pub(crate) event: Event,
}

/// The end that is written to.
#[derive(Debug)]
pub(crate) struct Log(File);

impl Log {
    pub(crate) fn open(directory: &Path, key: &str) -> Self {
        let mut options = OpenOptions::new();
        Self(options.append(true).create(true).open(directory.join(key)).unwrap())
    }

    pub(crate) fn append(&self, event: Event) {
        let text = Record { at: now(), event }.text();
        // One call: appended as a whole, before or after what others append.
        let written = (&self.0).write(format!("{text:<width$}\n", width = SIZE - 1).as_bytes());
        assert_eq!(written.unwrap(), SIZE);
    }
}

/// The end that is read from.
#[derive(Debug)]
pub(crate) struct Reader {
    file: File,
    read: u64,
}

impl Reader {
    pub(crate) fn open(directory: &Path, key: &str) -> Self {
        drop(Log::open(directory, key));
        Self { file: File::open(directory.join(key)).unwrap(), read: 0 }
    }

    /// What has been written since the last time.
    pub(crate) fn news(&mut self) -> Vec<Record> {
        let end = self.file.metadata().unwrap().len();
        let size = usize::try_from(end - self.read).unwrap() / SIZE * SIZE;
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, self.read).unwrap();
        self.read += size as u64;
        let lines = bytes.chunks_exact(SIZE).map(|line| std::str::from_utf8(line).unwrap());
        lines.map(|line| Record::parse(line).unwrap_or_else(|| panic!("`{line}`"))).collect()
    }
}

impl Record {
    fn text(&self) -> String {
        let at = self.at;
        match self.event {
            Event::Entered(entry) => {
                let Entry { hold, shared, token, asked, steals, least, of_set } = entry;
                let (shared, of_set) = (u8::from(shared), u8::from(of_set));
                let steals = steals.map_or("-".to_owned(), |age| age.to_string());
                format!("entered {at} {hold} {shared} {token} {asked} {steals} {least} {of_set}")
            }
            Event::Tries { hold, steals } => format!("tries {at} {hold} {steals}"),
            Event::Withdrew { hold } => format!("withdrew {at} {hold}"),
            Event::Left { hold, looked, lost } => {
                format!("left {at} {hold} {looked} {}", u8::from(lost))
            }
            Event::Released { hold, lost } => format!("released {at} {hold} {}", u8::from(lost)),
            Event::Killing { life } => format!("killing {at} {life}"),
            Event::Deleting => format!("deleting {at}"),
            Event::Deleted => format!("deleted {at}"),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let what = words.next()?;
        let mut number = || words.next()?.parse::<u64>().ok();
        let at = number()?;
        let mut hold = || {
            let (life, thread) = (number()?, number()?);
            let (life, thread) = (life.try_into().ok()?, thread.try_into().ok()?);
            Some(HoldId { life, thread, serial: number()? })
        };
        let event = match what {
            "entered" => Event::Entered(Entry {
                hold: hold()?,
                shared: number()? == 1,
                token: number()?,
                asked: number()?,
                // The one that may be missing.
                steals: words.next()?.parse().ok(),
                least: words.next()?.parse().ok()?,
                of_set: words.next()? == "1",
            }),
            "tries" => Event::Tries { hold: hold()?, steals: number()? },
            "withdrew" => Event::Withdrew { hold: hold()? },
            "left" => Event::Left { hold: hold()?, looked: number()?, lost: number()? == 1 },
            "released" => Event::Released { hold: hold()?, lost: number()? == 1 },
            "killing" => Event::Killing { life: number()?.try_into().ok()? },
            "deleting" => Event::Deleting,
            "deleted" => Event::Deleted,
            _ => return None,
        };
        Some(Self { at, event })
    }
}

impl std::fmt::Display for HoldId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.life, self.thread, self.serial)
    }
}
