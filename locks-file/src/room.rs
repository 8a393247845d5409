//! Whether there are descriptors for all keys of a request (C2): each lock takes one, and to find
//! out by opening file after file takes long, and leaves none to anybody else of the process
//! meanwhile.

use locks_core::{BackendInfo, Keys, LockError};
use rustix::process::{Resource, getrlimit};

use crate::fault;

/// Fewer are not worth a look: whoever has no descriptor for them hears of it soon.
const MANY: usize = 64;
/// What is left to others.
const SPARE: usize = 8;

/// Fails if there cannot be room for all of `keys`.
///
/// # Errors
/// `LimitExceeded`.
pub(crate) fn check(keys: Keys<'_>, about: &BackendInfo) -> Result<(), LockError> {
    let wanted = keys.iter().count();
    if wanted < MANY {
        return Ok(());
    }
    let Some(limit) = getrlimit(Resource::Nofile).current else { return Ok(()) };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // Where that cannot be seen, at least the limit speaks.
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let left = limit.saturating_sub(open.saturating_add(SPARE));
    if wanted <= left {
        Ok(())
    } else {
        Err(fault::too_many_keys(&about.name, wanted, left, limit))
    }
}
