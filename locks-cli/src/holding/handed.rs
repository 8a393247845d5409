//! What was handed over to this process: it is entered, and not waited for.

use std::cell::Cell;

use locks::backend::{Hold, KeySet};
use locks::{Backend, ErrorKind, LockError, ProcessInfo, SharedOwner};

use super::held::{AcquireRequest, CommandHold};
use crate::args::LockArgs;
use crate::backend_choice::Opened;

/// Acquires the lock: as part of the hold that was handed over to this process, if that has all of
/// the keys; by itself, if it has none of them. Sets `is_on_its_own` once it turns out to be the
/// latter.
///
/// # Errors
/// Those of an acquisition, and a mix of keys that were handed over and others.
pub(super) async fn acquire(
    at: &Opened,
    asked: &LockArgs,
    party: ProcessInfo,
    is_on_its_own: &Cell<bool>,
) -> Result<CommandHold, LockError> {
    let mut wanted = AcquireRequest::new(&asked.keys, asked.options, party);
    let mut around = Around { backend: &at.backend, holds: Vec::new() };
    let given = match at.backend.about().capabilities.shared_owner {
        true => SharedOwner::from_env()?,
        false => None,
    };
    let mut is_handed = false;
    if let Some(owner) = given {
        let (mut handed, mut others) = (Vec::new(), Vec::new());
        let keys = KeySet::new(&asked.keys);
        for key in keys.as_slice() {
            match around.enter(&wanted, key, owner).await? {
                true => handed.push(key.as_str()),
                false => others.push(key.as_str()),
            }
        }
        if let (Some(key), Some(other)) = (handed.first(), others.first()) {
            let why = format!(
                "`{key}` was handed over to this command and `{other}` was not: take them by a `locks run` each"
            );
            return Err(LockError::new(ErrorKind::Deadlock, *key).with_message(why));
        }
        is_handed = !handed.is_empty();
    }
    is_on_its_own.set(!is_handed);
    if is_handed {
        wanted.options.reentrant = true;
        wanted.owner = given;
    } else if asked.hand_over {
        wanted.owner = Some(SharedOwner::random());
    }
    let granted = wanted.of(&at.backend).await?;
    Ok(wanted.held(at, granted))
}

/// Guards within what was handed over, so that it does not go before there is the one that is asked
/// for.
struct Around<'a> {
    backend: &'a Backend,
    holds: Vec<Hold>,
}

impl Around<'_> {
    /// Enters the owner's hold of the key, if there is one.
    async fn enter(
        &mut self,
        wanted: &AcquireRequest,
        key: &str,
        owner: SharedOwner,
    ) -> Result<bool, LockError> {
        match wanted.within(key, owner).of(self.backend).await {
            Ok(granted) => {
                self.holds.push(granted.hold);
                Ok(true)
            }
            Err(error) if error.is_contended() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Around<'_> {
    fn drop(&mut self) {
        for hold in self.holds.drain(..) {
            // It is under way, and there is nothing to be told of it.
            drop(self.backend.release(hold));
        }
    }
}
