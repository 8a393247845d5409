use locks_core::{ErrorKind, LockError, LostCause, UpstreamGrant, report_stolen};

use super::Attempt;
use super::enter::first_token;
use crate::directory::{Exchange, Outcome};
use crate::kernel::{self, Nanos, Opened};
use crate::record::{Text, describe};

/// How a theft went.
pub(super) enum Theft {
    Done(UpstreamGrant),
    /// The file is no longer what it was.
    Changed,
    /// Not before then.
    Later(Nanos),
    /// The books are somebody else's for a moment, or the file nobody's: nothing is known by that.
    NotNow,
}

impl Attempt<'_> {
    /// Takes the file's place from whoever has it, if it is due (F4).
    pub(super) fn steal(&mut self, old: &Opened) -> Result<Theft, LockError> {
        let directory = self.directory.clone();
        let Some(mut entered) = directory.epochs.enter_soon()? else {
            return Ok(Theft::NotNow);
        };
        if !self.is_at_path(old.inode)? {
            return Ok(Theft::Changed);
        }
        // Once more, now that no other thief is about: this is the hold that is judged.
        let text = self.read(old)?;
        let judged = self.judge(&text, old)?;
        if judged.is_nobody() {
            return Ok(Theft::NotNow);
        }
        if judged.due() > kernel::now() {
            return Ok(Theft::Later(judged.due()));
        }
        let record = text.record().unwrap_or_default();
        let victims = record.entries.iter().filter(|entry| entry.conflicts(self.exclusive));
        let over = victims.map(|entry| entry.token).max().map(|token| (token, LostCause::Stolen));
        let over = over.or(Some((0, LostCause::Stolen)));
        let now = kernel::now();
        let victims = record.entries.iter().filter(|entry| entry.conflicts(self.exclusive));
        let mut victims = Vec::from_iter(victims.map(|entry| describe(entry, now)));
        if victims.is_empty() {
            // A user of `flock`, of whom the kernel tells.
            let named = self.contended(ErrorKind::Contended);
            victims.extend(named.holders().iter().cloned());
        }
        let token = first_token(entered.next_epoch()?);
        let exchange = Exchange::prepare(&directory, &mut entered, &self.name, self.exclusive)?;
        let mut placeholder = None;
        let outcome = exchange.carry_out(
            || Text::read(old).is_ok_and(|now| now.is_same(&text)),
            |new| {
                let mut held = self.hold(new.duplicate()?, token, over);
                held.write_alone(&held.terms())?;
                held.stolen_from.clone_from(&victims);
                placeholder = Some(held);
                Ok(())
            },
        )?;
        drop(entered);
        match (outcome, placeholder) {
            // The copy of the descriptor in `held` is the same open file, and keeps the lock.
            (Outcome::Taken, Some(held)) => {
                let mut thief = describe(&held.entry(&held.terms()), kernel::now());
                thief.age = None;
                let done = Theft::Done(self.files.take_in(held));
                victims.iter().for_each(|victim| report_stolen(self.key, victim, &thief));
                Ok(done)
            }
            _ => Ok(Theft::Changed),
        }
    }
}
