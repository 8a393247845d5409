//! What this process has left reserved (C14): its engine knows of that too, and has to hear of it when
//! somebody else ends it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::directory::Directory;
use crate::held::{Held, Stamp};
use crate::kernel::Nanos;
use crate::record::{Record, Text};

/// A reservation that an ended hold has left.
#[derive(Debug)]
pub(crate) struct Reserved {
    pub(crate) key: Box<str>,
    pub(crate) token: u64,
    name: Box<str>,
    directory: Arc<Directory>,
    until: Nanos,
    /// The lock file as it was looked at last.
    seen: Mutex<Option<Stamp>>,
}

impl Reserved {
    /// What `held` leaves behind.
    pub(crate) fn new(held: &Held) -> Self {
        let terms = held.terms();
        Self {
            key: held.key.clone(),
            token: terms.token,
            name: held.name.clone(),
            directory: held.directory.clone(),
            until: terms.keep_until,
            seen: Mutex::default(),
        }
    }

    /// Whether it is to last beyond `now`.
    pub(crate) fn is_pending(&self, now: Nanos) -> bool {
        self.until > now
    }

    /// Whether nobody has ended it.
    pub(crate) fn stands(&self) -> bool {
        let Ok(stat) = self.directory.root.stat(&self.name) else { return true };
        let stamp = stat.as_ref().map(Stamp::of);
        let before = std::mem::replace(
            &mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner),
            stamp,
        );
        if stamp.is_some() && before == stamp {
            return true;
        }
        let tells =
            |record: Record<'_>| record.entries.iter().any(|entry| entry.token == self.token);
        let file = self.directory.root.open_to_read(&self.name);
        let text = file.and_then(|file| Text::read(&file)).unwrap_or_default();
        match text.record() {
            Some(record) => tells(record),
            None => self.directory.kept.reservations(&self.name).record().is_some_and(tells),
        }
    }
}
