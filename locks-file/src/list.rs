//! Who holds what, without disturbing anyone: out of the kernel's table and the records (C12).

use std::cmp::Reverse;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use locks_core::{ErrorKind, HolderInfo, LockError, LockInfo, Mode, Query, Token, WaiterInfo};

use crate::directory::{Inode, open_existing};
use crate::files::Files;
use crate::kernel::{self, LockTable, Seen};
use crate::name::{self, Named};
use crate::record::{Text, describe, stranger};
use crate::{fault, waiting};

/// The keys that are held, waited for or reserved.
///
/// # Errors
/// If the directory cannot be read.
pub(crate) fn inspect(files: &Files, query: &Query) -> Result<Vec<LockInfo>, LockError> {
    let table = LockTable::read().unwrap_or_default();
    let mut found = Vec::new();
    if let Query::Key(key) = query {
        found.extend(look_at(files, &name::of_key(key), &table));
    } else {
        let path = &files.directory.path;
        let names = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        for entry in names.map_err(|error| fault::directory(path, error))? {
            found.extend(look_at(files, &entry.file_name().to_string_lossy(), &table));
        }
    }
    waiting::add_to(files, &mut found);
    for info in &mut found {
        // Found process by process; of those that wait in the kernel it is not known since when.
        info.waiters.sort_by_key(|waiter| Reverse(waiter.waited));
    }
    found.retain(|info| query.matches(&info.key) && !is_idle(info));
    found.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

fn is_idle(info: &LockInfo) -> bool {
    info.holders.is_empty() && info.waiters.is_empty() && info.reserved_for.is_none()
}

/// The error of a request that did not get `key`, with whoever has it.
#[cold]
pub(crate) fn contended(files: &Files, key: &str, kind: ErrorKind) -> LockError {
    let table = LockTable::read().unwrap_or_default();
    let info = look_at(files, &name::of_key(key), &table);
    let info = info.unwrap_or_else(|| LockInfo::new(key));
    LockError::new(kind, key).with_holders(info.holders).with_reserved_for(info.reserved_for)
}

/// What a lock file tells; `None` if it is none.
fn look_at(files: &Files, name: &str, table: &LockTable) -> Option<LockInfo> {
    let named = name::to_key(name);
    if named == Named::Other {
        return None;
    }
    let file = open_quietly(&files.directory.file(name)).ok()?;
    let inode = Inode::of(&file).ok()?;
    let text = Text::read(&file).ok()?;
    let record = text.record().unwrap_or_default();
    let key = match named {
        Named::Key(key) => key,
        _ => name::unescape(record.key?)?,
    };
    let now = kernel::now();
    let mut info = LockInfo::new(key);
    let grips = files.directory.in_table(inode).into_iter().flat_map(|inode| table.of(inode));
    let mut listed = Vec::new();
    for grip in grips {
        if grip.waits {
            let waits = stranger(grip.pid, grip.exclusive);
            let mut waiter = WaiterInfo::new(waits.mode, Duration::ZERO);
            waiter.party = waits.party;
            info.waiters.push(waiter);
            continue;
        }
        if listed.iter().any(|known: &Seen| known.pid == grip.pid) {
            continue;
        }
        let holder = Seen::at(grip.pid);
        listed.push(holder);
        let of_it = record.entries.iter().filter(|entry| entry.is_of(holder));
        let mode = if grip.exclusive { Mode::Exclusive } else { Mode::Shared };
        let known = of_it.filter(|entry| entry.mode() == mode);
        let known = known.map(|entry| describe(entry, now)).collect::<Vec<HolderInfo>>();
        match known.is_empty() {
            true => info.holders.push(stranger(grip.pid, grip.exclusive)),
            false => info.holders.extend(known),
        }
    }
    let ended =
        record.entries.iter().filter(|entry| !listed.iter().any(|known| entry.is_of(*known)));
    for entry in ended {
        if entry.is_reserved(now) && record.boot == kernel::boot() {
            let left = Duration::from_nanos(entry.keep_until - now);
            info.reserved_for = info.reserved_for.max(Some(left));
            info.reserved_by.push(Token::new(entry.token));
        }
    }
    Some(info)
}

/// Opens for reading alone, so that nobody is told that a lock may have become free.
fn open_quietly(path: &Path) -> io::Result<fs::File> {
    open_existing(path)
}
