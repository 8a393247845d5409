//! Grants as records, for a journal, and back (C7).

use std::sync::Arc;

use super::describe;
use crate::backend::{Hold, HoldRepr};
use crate::calls::Calls;
use crate::clock::Moment;
use crate::engine::ports::lost_error;
use crate::engine::state::{HoldRecord, RestoreError};
use crate::engine::table::{Core, Frozen, Nesting, PinnedSlot, SlotHold};
use crate::error::permits_mismatch;
use crate::{ErrorKind, KeySet, Keys, LockError, LostCause, Mode, Query, Token, check_key};

impl Core {
    /// One record for each key of a hold of this engine, in ascending order; none if it is lost.
    pub(in crate::engine) fn records(self: &Arc<Self>, hold: &Hold) -> Vec<HoldRecord> {
        let records = hold.slots().iter().map(|hold| self.record(hold));
        records.collect::<Option<_>>().unwrap_or_default()
    }

    /// Puts a grant of the keys of all these records back.
    pub(in crate::engine) fn restore(
        self: &Arc<Self>,
        records: &[HoldRecord],
    ) -> Result<Hold, LockError> {
        self.check_restores()?;
        let keys = KeySet::new(records.iter().map(|record| record.key.as_str()));
        Keys::all(&keys).check()?;
        if keys.as_slice().len() != records.len() {
            let twice = "a grant has no more than one record of each key";
            return Err(LockError::new(ErrorKind::InvalidKey, "").with_message(twice));
        }
        let set = (records.len() > 1).then(|| Arc::new(keys));
        let mut restored = Restored { core: self, holds: Vec::with_capacity(records.len()) };
        let mut sorted = records.iter().collect::<Vec<_>>();
        sorted.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        for record in sorted {
            let hold = self.restore_one(record, set.clone())?;
            restored.holds.push(hold);
        }
        let mut holds = std::mem::take(&mut restored.holds);
        Ok(Hold(match holds.len() {
            1 => HoldRepr::Slot(holds.remove(0)),
            _ => HoldRepr::Set(holds.into_boxed_slice()),
        }))
    }

    /// Puts back a reservation that outlives its hold.
    pub(in crate::engine) fn restore_reservation(
        self: &Arc<Self>,
        key: &str,
        mode: Mode,
        token: Token,
        until: Moment,
    ) -> Result<(), LockError> {
        self.check_restores()?;
        check_key(key)?;
        let slot = self.pin(key);
        let mut frozen = self.freeze(&slot);
        let restored = frozen.restore_reservation(mode, token, until);
        restored.map_err(|misfit| refuse(misfit, &frozen, (mode, token)))
    }

    /// The reservations that outlive their holds, ordered by key.
    pub(in crate::engine) fn reservations(self: &Arc<Self>) -> Vec<(String, Mode, Token, Moment)> {
        let mut slots = Vec::new();
        // SAFETY: under the mutex of its shard, with an inline slot fixed.
        self.registry
            .select(&Query::All, |slot| slots.push(unsafe { PinnedSlot::new(self, slot) }));
        let mut found = Vec::<(String, Mode, Token, Moment)>::new();
        for slot in slots {
            let frozen = self.freeze(&slot);
            let left = frozen.reservations();
            found.extend(left.map(|(mode, token, until)| (slot.key().into(), mode, token, until)));
        }
        found.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        found
    }

    fn check_restores(&self) -> Result<(), LockError> {
        if self.upstream.is_none() {
            return Ok(());
        }
        let why = "what is held is for the upstream to say";
        Err(LockError::unsupported(&self.about.name, "restore", why))
    }

    fn record(self: &Arc<Self>, hold: &SlotHold) -> Option<HoldRecord> {
        let slot = hold.slot();
        let Some(plain) = slot.plain_record(hold.token) else {
            let found =
                self.with_hold(hold, |entry| entry.to_record(slot.key(), hold.level, hold.token));
            return found.ok().flatten();
        };
        let since = plain.since.moment().after(plain.since.slack(self.clock.now()));
        Some(HoldRecord {
            key: slot.key().to_owned(),
            token: hold.token,
            outer: hold.token,
            nested: false,
            mode: Mode::Exclusive,
            owner: plain.owner.full(),
            runs_as: plain.owner.full(),
            site: plain.site,
            label: None,
            since: Some(since),
            reserved_until: None,
            if_done: false,
            is_done: false,
            ends_at: None,
        })
    }

    fn restore_one(
        self: &Arc<Self>,
        record: &HoldRecord,
        set: Option<Arc<KeySet>>,
    ) -> Result<SlotHold, LockError> {
        let slot = self.pin(&record.key);
        let mut frozen = self.freeze(&slot);
        let restored = frozen.restore(record, set);
        let restored = restored.map_err(|misfit| {
            let token = if misfit == RestoreError::NotNested { record.outer } else { record.token };
            refuse(misfit, &frozen, (record.mode, token))
        });
        drop(frozen);
        let nesting = if record.nested { Nesting::Inner } else { Nesting::Outermost };
        Ok(SlotHold { slot: slot.slot_ref(), token: record.token, level: restored?, nesting })
    }

    fn take_back(self: &Arc<Self>, hold: SlotHold) {
        // The hold is gone before the mutex is let go, and only a pin keeps the slot.
        // SAFETY: under the mutex of its shard, with an inline slot fixed.
        let pin = |slot| unsafe { PinnedSlot::new(self, slot) };
        let Some(slot) = self.registry.with_held(&hold, pin) else { return };
        self.freeze(&slot).take_back(hold.token, hold.level);
    }
}

/// What has been restored of a set so far. Dropping it takes that back.
struct Restored<'a> {
    core: &'a Arc<Core>,
    holds: Vec<SlotHold>,
}

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        let mut calls = Calls::default();
        for hold in self.holds.drain(..).rev() {
            calls.make(|| self.core.take_back(hold));
        }
        calls.end();
    }
}

/// The error for what cannot be put back.
#[cold]
fn refuse(misfit: RestoreError, frozen: &Frozen<'_>, (mode, token): (Mode, Token)) -> LockError {
    let key = frozen.slot().key();
    match misfit {
        RestoreError::Contended => {
            describe::in_the_way(ErrorKind::Contended, frozen, None, None).with_token(token)
        }
        RestoreError::PermitsMismatch => permits_mismatch(key, mode),
        RestoreError::NotNested => lost_error(key, token, LostCause::Forgotten),
        RestoreError::NoToken => token.not_followed(key),
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::{CallSite, Caller, Engine, Options, OwnerId, Request};

    #[test]
    fn a6_a_plain_hold_is_recorded_and_restored_without_a_state_of_its_own() {
        let (engine, copy) = (Engine::new(), Engine::new());
        let is_plain = |hold: &Hold| !hold.slots()[0].slot().is_frozen();
        for owner in [None, OwnerId::from_parts(3, 2, 17)] {
            let caller = Caller { owner, ..Caller::anonymous() }.at(CallSite::caller());
            let request = Request::new(Keys::one("k"), Options::default(), caller);
            let hold = engine.acquire(request).block().unwrap().hold;
            let records = engine.record(&hold);
            assert!(is_plain(&hold) && records[0].owner == owner);
            let restored = copy.restore(&records).unwrap();
            assert!(is_plain(&restored));
            assert_eq!(format!("{:?}", copy.record(&restored)), format!("{records:?}"));
            assert_eq!(restored.token(), hold.token());
            copy.release(restored).block().unwrap();
            engine.release(hold).block().unwrap();
        }
        assert_eq!((engine.live_keys(), copy.live_keys()), (0, 0));
    }
}
