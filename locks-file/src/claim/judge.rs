use locks_core::LockError;

use super::look::GRACE;
use super::{Attempt, DOUBT};
use crate::kernel::{self, LockTable, Nanos, Opened};
use crate::record::{Entry, Text};

/// The number of a process that the kernel does not show here.
const UNSEEN: u32 = 0;

/// When a file may be taken from whoever has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// The kernel knows of nobody.
    Nobody,
    /// From then on; [`Nanos::MAX`]: never, as things are.
    Due(Nanos),
}

impl Judged {
    pub(super) fn is_nobody(self) -> bool {
        self == Judged::Nobody
    }

    pub(super) fn due(self) -> Nanos {
        match self {
            Judged::Nobody => Nanos::MAX,
            Judged::Due(at) => at,
        }
    }
}

impl Attempt<'_> {
    /// When this request may take the file: all of it, so what counts is whoever came last (C6).
    ///
    /// A record speaks for a holder only if the kernel says that its process has the file; whoever
    /// has it otherwise ages from the first time it was seen (F3).
    pub(super) fn judge(&mut self, text: &Text, file: &Opened) -> Result<Judged, LockError> {
        let directory = &self.directory;
        let table = LockTable::read().map_err(|error| self.failed("judged", error))?;
        let Some(named) = directory.in_table(file.inode) else {
            return Ok(Judged::Due(Nanos::MAX));
        };
        let record = text.record().unwrap_or_default();
        let exclusive = self.exclusive;
        let conflicting = record.entries.iter().filter(|entry| entry.conflicts(exclusive));
        let conflicting = conflicting.collect::<Vec<_>>();
        let now = kernel::now();
        // What is reserved is not stolen, whether or not its holder is there.
        let mut due = directory.reserved_until(&self.name, file, text, exclusive);
        let mut somebody = false;
        self.is_known = false;
        let holders = table.holders(named).into_iter();
        for (holder, _) in holders.filter(|(_, alone)| exclusive || *alone) {
            somebody = true;
            let mut known = false;
            for entry in conflicting.iter().filter(|entry| entry.is_of(&holder, &self.process)) {
                known = true;
                due = due.max(self.due(entry));
            }
            self.is_known |= known;
            if !known {
                due = due.max(self.stranger_due(holder.pid, record.token, now));
            }
        }
        if somebody {
            self.strangers.retain(|(pid, ..)| *pid != UNSEEN);
            return Ok(Judged::Due(due));
        }
        // A process that cannot be seen from here, or a moment at which nobody has it.
        let unseen = self.stranger_due(UNSEEN, record.token, now);
        let first = self.strangers.iter().find(|(pid, ..)| *pid == UNSEEN);
        let doubtful = first.is_none_or(|(.., first)| now < first + DOUBT);
        Ok(if doubtful { Judged::Nobody } else { Judged::Due(due.max(unseen)) })
    }

    fn due(&self, entry: &Entry<'_>) -> Nanos {
        let overdue = match entry.ends_at {
            0 => Nanos::MAX,
            at => at.saturating_add(GRACE),
        };
        let aged = match (self.options.steal_after, entry.since) {
            (Some(age), since @ 1..) => since.saturating_add(nanos(age)),
            // Part of an unfinished set (C11), or nobody asks to steal.
            _ => Nanos::MAX,
        };
        aged.min(overdue).max(entry.keep_until)
    }

    fn stranger_due(&mut self, pid: u32, token: u64, now: Nanos) -> Nanos {
        // Whoever had it when the record was another was another.
        self.strangers.retain(|(who, then, _)| *who != pid || *then == token);
        let seen = self.strangers.iter().find(|(who, ..)| *who == pid);
        let first = match seen {
            Some((.., first)) => *first,
            None => {
                self.strangers.push((pid, token, now));
                now
            }
        };
        let Some(age) = self.options.steal_after else { return Nanos::MAX };
        // Not at the very first look, whatever the age: nothing is known of it but that.
        first.saturating_add(nanos(age).max(1))
    }
}

fn nanos(age: std::time::Duration) -> Nanos {
    u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)
}
