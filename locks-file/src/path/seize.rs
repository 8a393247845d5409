//! The file's own lock, which other users of `flock` may have.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use locks_core::fork::PerProcess;
use locks_core::{ErrorKind, HolderInfo, LockError, Token, Wait};

use super::place::Place;
use crate::directory::Inode;
use crate::kernel::{self, LockTable, Nanos, Opened};
use crate::record::stranger;
use crate::watch::{Signal, pause, watch};

/// How often to look without being told.
const SAFETY_POLL: Nanos = 50_000_000;
const POLL: Nanos = 2_000_000;

/// How an attempt on the file itself ended.
pub(super) enum Seized {
    Locked((Arc<Opened>, Nest)),
    /// Another file is at the path by now.
    Replaced,
}

/// The files that are locked, for guards that nest in others: those have the file's lock already.
static LOCKED: PerProcess<Mutex<Locks>> = PerProcess::new();

type Locks = HashMap<Nest, Weak<Opened>>;

/// A file and the token of the grant by which it is locked: all guards of a nest have the same.
pub(super) type Nest = (Inode, Token);

/// Locks the file, as soon as other users of `flock` let go of it.
pub(super) async fn seize(
    place: &Place,
    file: &Opened,
    shared: bool,
    token: Token,
    wait: Wait,
    deadline: Option<Nanos>,
) -> Result<Seized, LockError> {
    let nest = (place.inode, token);
    if let Some(outer) = locked().get(&nest).and_then(Weak::upgrade) {
        return Ok(Seized::Locked((outer, nest)));
    }
    let signal = Arc::<Signal>::default();
    let mut watching = None;
    loop {
        let tried = match shared {
            true => fs4::FileExt::try_lock_shared(&**file),
            false => fs4::FileExt::try_lock(&**file),
        };
        match tried {
            Ok(()) => break,
            Err(fs4::TryLockError::WouldBlock) => {}
            Err(fs4::TryLockError::Error(error)) => return Err(place.failed("locked", error)),
        }
        let now = kernel::now();
        if wait == Wait::No || deadline.is_some_and(|deadline| deadline <= now) {
            let kind = if wait == Wait::No { ErrorKind::Contended } else { ErrorKind::Timeout };
            return Err(LockError::new(kind, place.name()));
        }
        if watching.is_none() {
            watching = watch(file, &signal, false);
            if watching.is_some() {
                // It may have become free before it was watched.
                continue;
            }
        }
        let poll = if watching.is_some() { SAFETY_POLL } else { POLL };
        let by_itself = now + poll;
        pause(&signal, deadline.map_or(by_itself, |deadline| deadline.min(by_itself))).await;
        if place.check().is_err() {
            return Ok(Seized::Replaced);
        }
    }
    if place.check().is_err() {
        return Ok(Seized::Replaced);
    }
    let lock = file.duplicate().map_err(|error| place.failed("locked", error))?;
    let lock = Arc::new(lock);
    locked().insert(nest, Arc::downgrade(&lock));
    Ok(Seized::Locked((lock, nest)))
}

/// Unlocks the file, unless other guards of the nest need it.
pub(super) fn let_go(lock: Arc<Opened>, nest: Nest) -> io::Result<()> {
    // With the mutex locked, so that of two who let go at once one is the last.
    let mut locked = locked();
    let Ok(lock) = Arc::try_unwrap(lock) else { return Ok(()) };
    locked.remove(&nest);
    drop(locked);
    fs4::FileExt::unlock(&*lock)
}

/// Whoever has the file, as far as the kernel tells.
pub(super) fn holders(place: &Place, shared: bool) -> Vec<HolderInfo> {
    let (Ok(table), Some(inode)) = (LockTable::read(), place.files.in_table(place.inode)) else {
        return Vec::new();
    };
    let grips = table.of(inode).filter(|grip| !grip.waits && (!shared || grip.exclusive));
    grips.map(|grip| stranger(grip.pid, grip.exclusive)).collect()
}

fn locked() -> MutexGuard<'static, Locks> {
    LOCKED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}
