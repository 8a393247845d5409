use super::enter::EnterOutcome;
use super::{Attempt, DOUBT, Look};
use crate::kernel::{self, Opened};
use crate::persist::SOON;
use crate::record::{FileContent, Text};
use crate::shared;
use locks_core::{LockError, Wait};

/// How often a file may turn out to be another before it is left for a moment.
const ROUNDS: usize = 100;
/// From when on somebody who waits for the key alone has new shared holds keep off (C3), for how
/// long at a time, and how soon he says so again.
const YIELD_AFTER: kernel::Nanos = 5_000_000;
const WANTED: kernel::Nanos = 20_000_000;
const RENEWED: kernel::Nanos = 8_000_000;
/// How long somebody may have a file who only looks at it.
const LOOKING: kernel::Nanos = 1_000_000;
/// How much longer than it was to last a hold may take to end (C14), before it is ended from
/// outside.
pub(super) const GRACE: kernel::Nanos = 100_000_000;

impl Attempt<'_> {
    /// Takes the file if it can be had, by whatever means the request allows.
    ///
    /// # Errors
    /// Whatever keeps it from being locked, other than that somebody has it.
    pub(super) fn look(&mut self) -> Result<Look, LockError> {
        self.lacks_books = false;
        if let Some(turn) = self.enter_kept()? {
            return Ok(Look::Granted(turn));
        }
        let now = kernel::now();
        if let Some(until) = self.files.off_until(self.key).filter(|until| *until > now)
            && self.waits_beyond(until)
        {
            return Ok(Look::Busy { again: until, doubtful: false });
        }
        for _ in 0..ROUNDS {
            let file = match self.file.take() {
                Some(open) => open,
                None => {
                    // Another file, with other holders.
                    self.strangers.clear();
                    self.directory.open_file(&self.name)?
                }
            };
            if self.reserved > now && self.is_reserved_still(&file) {
                self.file = Some(file);
                return Ok(Look::Busy { again: self.reserved, doubtful: false });
            }
            let locked = if self.exclusive {
                fs4::FileExt::try_lock(&*file)
            } else {
                fs4::FileExt::try_lock_shared(&*file)
            };
            match locked {
                Ok(()) => {}
                Err(fs4::TryLockError::WouldBlock) => {
                    if !self.is_at_path(file.inode)? {
                        continue;
                    }
                    if let Some(look) = self.look_at_holder(file)? {
                        return Ok(look);
                    }
                    continue;
                }
                Err(fs4::TryLockError::Error(error)) => return Err(self.failed("locked", error)),
            }
            match self.enter(file)? {
                EnterOutcome::In(turn) => return Ok(Look::Granted(turn)),
                EnterOutcome::Again => {}
                EnterOutcome::Out { file, again, doubtful } => {
                    // Not closed, which would tell all others to try.
                    fs4::FileExt::unlock(&*file).map_err(|error| self.failed("unlocked", error))?;
                    self.file = Some(file);
                    return Ok(Look::Busy { again, doubtful });
                }
            }
        }
        Ok(Look::Busy { again: kernel::now() + DOUBT, doubtful: true })
    }

    /// Whether there is time to let others be first until then.
    fn waits_beyond(&self, until: kernel::Nanos) -> bool {
        match self.options.wait {
            Some(Wait::Try) => false,
            Some(Wait::AtMost(limit)) => {
                let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
                self.begun.saturating_add(limit) > until
            }
            Some(Wait::Forever) | None => true,
        }
    }

    /// Somebody has the file. `None`: it is another's by now, so look again.
    fn look_at_holder(&mut self, file: Opened) -> Result<Option<Look>, LockError> {
        let text = self.read(&file)?;
        let now = kernel::now();
        let mut again = kernel::Nanos::MAX;
        let mut doubtful = false;
        let mut readers = false;
        let mut is_wanted = false;
        // Whether a bound has been passed that only others can see to, and when the next one is.
        let (mut is_overdue, mut overdue) = (false, None);
        if let FileContent::Record(record) = text.parse() {
            doubtful = record.removed;
            readers = record.entries.iter().all(|entry| !entry.exclusive);
            is_wanted = record.wanted >= now + RENEWED;
            let ours = record.entries.iter().filter(|entry| entry.conflicts(self.exclusive));
            let ends = ours.map(|entry| entry.ends_at).filter(|ends_at| *ends_at > 0);
            let ends = ends.map(|ends_at| ends_at.saturating_add(GRACE)).collect::<Vec<_>>();
            is_overdue = ends.iter().any(|at| *at <= now);
            overdue = ends.into_iter().filter(|at| *at > now).min();
        }
        let without_waiting = self.options.wait == Some(Wait::Try);
        if self.directory.exchanges
            && self.directory.has_table()
            && (self.options.steal_after.is_some() || is_overdue)
        {
            match self.judge(&text, &file)? {
                judged if judged.is_nobody() => doubtful = true,
                judged if judged.due() <= now => match self.steal(&file)? {
                    super::steal::Theft::Done(turn) => return Ok(Some(Look::Granted(turn))),
                    super::steal::Theft::Changed => return Ok(None),
                    super::steal::Theft::Later(at) => again = at,
                    super::steal::Theft::NotNow => {
                        again = kernel::now() + SOON;
                        doubtful = true;
                    }
                },
                judged => again = judged.due(),
            }
        } else if without_waiting && !doubtful {
            let judged = self.judge(&text, &file);
            // Somebody unknown may only be looking, for a list or to clean.
            let looks = !self.is_known && kernel::now() < self.begun + LOOKING;
            doubtful = judged.is_ok_and(|judged| judged.is_nobody() || looks);
        }
        if readers && self.exclusive && !without_waiting && now >= self.begun + YIELD_AFTER {
            if !is_wanted {
                shared::keep_others_off(&self.directory, &self.name, &file, now + WANTED)?;
            }
            again = again.min(now + RENEWED);
        }
        if let Some(at) = overdue {
            again = again.min(at);
        }
        self.file = Some(file);
        Ok(Some(Look::Busy { again, doubtful }))
    }

    /// Whether the reservation that was seen stands; it could have been ended by an administrator.
    fn is_reserved_still(&mut self, file: &Opened) -> bool {
        let text = Text::read(file).unwrap_or_default();
        let now = kernel::now();
        let until = match text.record() {
            Some(record) => record.closed_until(self.exclusive, now),
            None => self.directory.reserved_until(&self.name, file, &text, self.exclusive),
        };
        self.reserved = until;
        until > now
    }

    /// What the file has.
    ///
    /// # Errors
    /// Also where it is somebody else's by now (F9).
    pub(super) fn read(&self, file: &Opened) -> Result<Text, LockError> {
        let text = Text::read(file).map_err(|error| self.failed("read", error))?;
        match self.directory.is_anothers(&text) {
            true => Err(self.directory.lock_file(&self.name).not_ours()),
            false => Ok(text),
        }
    }
}
