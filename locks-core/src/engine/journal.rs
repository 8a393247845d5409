//! What a journal needs of an engine: its grants as records, and back (C7).

use super::Engine;
use super::state::HoldRecord;
use crate::clock::Moment;
use crate::{Hold, LockError, Mode, Token};

impl Engine {
    /// Returns the records by which a hold can be [restored](Self::restore): one for each of its
    /// keys, in ascending order; none if it is lost, or not this engine's.
    ///
    /// A record is true of the moment it was made at. [Refreshing](crate::LockBackend::refresh) a
    /// guard and [detaching its owner](crate::LockBackend::detach_owner) change its record, and so
    /// does releasing the guard that it is nested in. The [party](crate::Caller::party) of the
    /// holder is not in it.
    pub fn record(&self, hold: &Hold) -> Vec<HoldRecord> {
        if self.granted(hold) { self.core.records(hold) } else { Vec::new() }
    }

    /// Restores a hold from its records, with its token, age and bounds. Several records are one
    /// grant of several keys, which are lost together ([C11](crate::contract#c11-several-keys)).
    ///
    /// All later tokens of the keys are greater ([C7](crate::contract#c7-fencing-tokens)). Guards
    /// of one nest are restored from the outside in; one that is nested is put into the hold with
    /// that `outer` token. A bound that has passed meanwhile ends the hold at once.
    ///
    /// # Errors
    /// [`Contended`](crate::ErrorKind::Contended) or
    /// [`PermitsMismatch`](crate::ErrorKind::PermitsMismatch) if it conflicts with what is there;
    /// [`Lost`](crate::ErrorKind::Lost) if it is nested in a hold that is not there; `InvalidKey`
    /// and `Protocol` for records that no engine has made, and `Unsupported` with an
    /// [`Upstream`](crate::Upstream). Nothing is held then, although tokens may have been used up.
    pub fn restore(&self, records: &[HoldRecord]) -> Result<Hold, LockError> {
        self.core.restore(records)
    }

    /// Restores a reservation that outlives its hold ([C14](crate::contract#c14-bounds-of-a-hold)).
    /// One whose time is over only uses up its token.
    ///
    /// # Errors
    /// As [`restore`](Self::restore)'s.
    pub fn restore_reservation(
        &self,
        key: &str,
        mode: Mode,
        token: Token,
        until: Moment,
    ) -> Result<(), LockError> {
        self.core.restore_reservation(key, mode, token, until)
    }

    /// Returns the reservations that outlive their holds, ordered by key: key, mode, token and end
    /// ([C14](crate::contract#c14-bounds-of-a-hold)).
    pub fn reservations(&self) -> Vec<(String, Mode, Token, Moment)> {
        self.core.reservations()
    }
}
