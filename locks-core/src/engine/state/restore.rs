use std::sync::Arc;

use super::hold::{HoldEntry, Reservation};
use super::hold_record::HoldRecord;
use super::{State, Units};
use crate::clock::Moment;
use crate::{KeySet, Mode, Token};

/// Why a grant cannot be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum RestoreError {
    /// It conflicts with what is there.
    Contended,
    PermitsMismatch,
    /// The hold that it is nested in is not there.
    NotNested,
    /// An engine cannot go on from such a token.
    NoToken,
}

impl State {
    /// Puts a grant back, and says which level of its hold it is. As everywhere, S1 to S3 hold.
    pub(in crate::engine) fn restore(
        &mut self,
        record: &HoldRecord,
        set: Option<Arc<KeySet>>,
    ) -> Result<u32, RestoreError> {
        if !record.token.max(record.outer).is_followed() {
            return Err(RestoreError::NoToken);
        }
        let around = self.holds.iter().position(|hold| hold.token == record.outer);
        let level = match (record.nested, around) {
            (true, None) => return Err(RestoreError::NotNested),
            (true, Some(index)) => self.restore_within(index, record, set)?,
            (false, Some(_)) => return Err(RestoreError::Contended),
            (false, None) => {
                self.make_room(record.mode)?;
                let hold = HoldEntry::restored(record, set);
                let level = hold.innermost().id;
                // In the order of the grants, although one that has outlived its outermost guard
                // comes after those that were granted before it.
                let later = self.holds.iter().position(|other| other.token > hold.token);
                self.holds.insert(later.unwrap_or(self.holds.len()), hold);
                level
            }
        };
        self.raise_token(record.token.max(record.outer));
        Ok(level)
    }

    /// Takes back what has just been restored, because the rest of its set cannot be.
    pub(in crate::engine) fn take_back(&mut self, token: Token, level: u32) {
        if let Some((index, 0)) = self.find(token, level) {
            self.holds[index].reserved_until = None;
        }
        self.release(token, level);
    }

    /// Puts back the reservation that a hold with this token has left (C14).
    pub(in crate::engine) fn restore_reservation(
        &mut self,
        mode: Mode,
        token: Token,
        until: Moment,
    ) -> Result<(), RestoreError> {
        if !token.is_followed() {
            return Err(RestoreError::NoToken);
        }
        if until > self.now {
            self.make_room(mode)?;
            self.reserved.push(Reservation { until, mode, token });
        }
        self.raise_token(token);
        Ok(())
    }

    /// The reservations that nobody holds the key for: mode, token, and until when.
    pub(in crate::engine) fn reservations(&self) -> impl Iterator<Item = (Mode, Token, Moment)> {
        self.reserved.iter().map(|found| (found.mode, found.token, found.until))
    }

    fn restore_within(
        &mut self,
        index: usize,
        record: &HoldRecord,
        set: Option<Arc<KeySet>>,
    ) -> Result<u32, RestoreError> {
        if !self.agrees_with(record.mode) {
            return Err(RestoreError::PermitsMismatch);
        }
        let hold = &self.holds[index];
        if record.mode.outranks(hold.mode) && self.used() != hold.mode.units() {
            return Err(RestoreError::Contended);
        }
        Ok(self.holds[index].nest_restored(record, set))
    }

    /// S1: there is room for what was granted in this mode. In ascending order of their own numbers
    /// permits fit if they do in any, and so in the one that they were granted in.
    fn make_room(&self, mode: Mode) -> Result<(), RestoreError> {
        if !self.agrees_with(mode) {
            return Err(RestoreError::PermitsMismatch);
        }
        let has_room = if mode.takes_permits() {
            let holds = self.holds.iter().map(|hold| hold.mode);
            let reserved = self.reserved.iter().map(|left| left.mode);
            let mut permits = Vec::from_iter(holds.chain(reserved).chain([mode]));
            permits.sort_unstable_by_key(|mode| mode.capacity());
            let mut used = 0;
            permits.iter().all(|mode| {
                used += mode.units();
                used <= mode.capacity()
            })
        } else {
            self.fits(mode)
        };
        if has_room { Ok(()) } else { Err(RestoreError::Contended) }
    }
}
