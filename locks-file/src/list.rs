//! Who holds what, without disturbing anyone: out of the kernel's table and the records (C12).

use std::cmp::Reverse;
use std::time::Duration;

use locks_core::{ErrorKind, HolderInfo, LockError, LockInfo, Mode, Query, Token, WaiterInfo};

use crate::directory::Directory;
use crate::fault;
use crate::files::Files;
use crate::kernel::{self, LockTable, Opened, Process, Seen};
use crate::name::{self, Named};
use crate::record::{Entry, Record, Text, describe, stranger};

/// The keys that are held, waited for or reserved.
///
/// # Errors
/// If the directory cannot be read.
pub(crate) fn inspect(files: &Files, query: &Query) -> Result<Vec<LockInfo>, LockError> {
    let directory = &*files.arrive()?;
    let looking = Looking::new(directory, &files.process);
    let mut found = Vec::new();
    if let Query::Key(key) = query {
        found.extend(looking.look_at(&name::of_key(key)));
    } else {
        let names = directory.root.names();
        for name in names.map_err(|error| fault::directory(directory.path(), error))? {
            found.extend(looking.look_at(&name));
        }
    }
    files.waits.add_to(directory, &mut found);
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
pub(crate) fn contended(
    directory: &Directory,
    process: &Process,
    key: &str,
    kind: ErrorKind,
) -> LockError {
    let info = Looking::new(directory, process).look_at(&name::of_key(key));
    let info = info.unwrap_or_else(|| LockInfo::new(key));
    LockError::new(kind, key).with_holders(info.holders).with_reserved_for(info.reserved_for)
}

/// A look at lock files.
struct Looking<'a> {
    directory: &'a Directory,
    process: &'a Process,
    table: LockTable,
}

impl<'a> Looking<'a> {
    fn new(directory: &'a Directory, process: &'a Process) -> Self {
        Self { directory, process, table: LockTable::read().unwrap_or_default() }
    }

    /// What a lock file tells; `None` if it is none.
    fn look_at(&self, name: &str) -> Option<LockInfo> {
        let named = name::to_key(name);
        if named == Named::Other {
            return None;
        }
        let file = self.directory.find_file(name).ok()??;
        let text = Text::read(&file).ok()?;
        let beside = match text.record() {
            Some(_) => Text::default(),
            None => self.directory.kept.reservations(name),
        };
        let wiped = beside.record().unwrap_or_default();
        let record = text.record().unwrap_or_default();
        let key = match named {
            Named::Key(key) => key,
            _ => name::unescape(record.key.or(wiped.key)?)?,
        };
        let mut info = LockInfo::new(key);
        let seen = self.add_seen(&mut info, &file, &record);
        let is_gone =
            |entry: &&Entry<'_>| !seen.iter().any(|(holder, _)| entry.is_of(holder, self.process));
        let rest = record.entries.iter().filter(is_gone).copied().collect::<Vec<_>>();
        let unseen = self.add_unseen(&mut info, &file, &rest, &seen);
        let now = kernel::now();
        for entry in rest.iter().chain(&wiped.entries) {
            if entry.is_reserved(now)
                && !unseen.contains(&entry.token)
                && (record.boot == 0 || kernel::is_of_this_boot(record.boot, &file))
            {
                let left = Duration::from_nanos(entry.keep_until - now);
                info.reserved_for = info.reserved_for.max(Some(left));
                info.reserved_by.push(Token::new(entry.token));
            }
        }
        Some(info)
    }

    /// Adds those whom the kernel tells of. Who they are, and whether alone.
    fn add_seen(
        &self,
        info: &mut LockInfo,
        file: &Opened,
        record: &Record<'_>,
    ) -> Vec<(Seen, bool)> {
        let now = kernel::now();
        let named = self.directory.in_table(file.inode);
        let mut seen: Vec<(Seen, bool)> = Vec::new();
        for grip in named.into_iter().flat_map(|inode| self.table.of(inode)) {
            if grip.waits {
                let waits = stranger(grip.pid, grip.exclusive);
                let mut waiter = WaiterInfo::new(waits.mode, Duration::ZERO);
                waiter.party = waits.party;
                info.waiters.push(waiter);
                continue;
            }
            if seen.iter().any(|(known, _)| known.pid == grip.pid) {
                continue;
            }
            let holder = Seen::at(grip.pid);
            let of_it = record.entries.iter().filter(|entry| entry.is_of(&holder, self.process));
            let of_it = of_it.filter(|entry| entry.exclusive == grip.exclusive);
            let known = of_it.map(|entry| describe(entry, now)).map(|mut known| {
                // As it is known here, which is what `kill` takes.
                known.party.pid = Some(grip.pid);
                known
            });
            let known = known.collect::<Vec<HolderInfo>>();
            match known.is_empty() {
                true => info.holders.push(stranger(grip.pid, grip.exclusive)),
                false => info.holders.extend(known),
            }
            seen.push((holder, grip.exclusive));
        }
        seen
    }

    /// Adds those who have the file, and of whom the kernel does not tell here: they are in another
    /// pid namespace, or there is no table (F11). Their tokens.
    fn add_unseen(
        &self,
        info: &mut LockInfo,
        file: &Opened,
        rest: &[Entry<'_>],
        seen: &[(Seen, bool)],
    ) -> Vec<u64> {
        if self.sees_all() || seen.iter().any(|(_, exclusive)| *exclusive) {
            return Vec::new();
        }
        let mode = match seen.is_empty() {
            true => held_mode(file),
            // One who has it alone would be alone.
            false => Some(Mode::Shared),
        };
        let Some(mode) = mode else { return Vec::new() };
        let now = kernel::now();
        let sees = |entry: &&Entry<'_>| {
            entry.mode() == mode
                && !(self.directory.has_table() && self.process.can_see(entry.space))
        };
        let unseen = rest.iter().filter(sees).collect::<Vec<_>>();
        for entry in &unseen {
            let mut holder = describe(entry, now);
            holder.party.unseen = true;
            info.holders.push(holder);
        }
        if unseen.is_empty() && seen.is_empty() {
            let mut holder = HolderInfo::new(mode);
            holder.party.unseen = true;
            info.holders.push(holder);
        }
        unseen.iter().map(|entry| entry.token).collect()
    }

    /// Whether the kernel tells here of everybody who has a file.
    fn sees_all(&self) -> bool {
        self.directory.has_table() && self.process.sees_all()
    }
}

/// How somebody has the file, by whether it can be locked for an instant: where the kernel does not
/// tell. Who does not wait and finds it locked by that looks once more.
fn held_mode(file: &Opened) -> Option<Mode> {
    let locked = fs4::FileExt::try_lock(&**file);
    let mode = match locked {
        Err(fs4::TryLockError::WouldBlock) => match fs4::FileExt::try_lock_shared(&**file) {
            Ok(()) => Some(Mode::Shared),
            Err(fs4::TryLockError::WouldBlock) => return Some(Mode::Exclusive),
            Err(fs4::TryLockError::Error(_)) => return None,
        },
        Ok(()) => None,
        Err(fs4::TryLockError::Error(_)) => return None,
    };
    // Should it fail, the file is closed, which unlocks as well.
    let _ = fs4::FileExt::unlock(&**file);
    mode
}
