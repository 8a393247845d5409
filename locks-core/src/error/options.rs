//! The errors of options that cannot be granted.

use std::time::Duration;

use super::{ErrorKind, LockError};
use crate::{Mode, Options};

impl Options {
    /// Checks for what no backend can grant: zero permits, more permits than there are, and permits
    /// that are shared ([C16](crate::contract#c16-permits)); a hold that would end as it begins
    /// ([C14](crate::contract#c14-bounds-of-a-hold)).
    ///
    /// # Errors
    /// [`PermitsMismatch`](ErrorKind::PermitsMismatch), which says which of them; for the hold
    /// [`LimitExceeded`](ErrorKind::LimitExceeded).
    #[inline]
    pub fn check(&self) -> Result<(), LockError> {
        let is_grantable = match self.mode {
            Mode::Exclusive | Mode::Shared => true,
            Mode::Permit { take, of } => (1..=of).contains(&take),
        };
        if self.mixed || !is_grantable {
            return Err(self.refuse());
        }
        if self.hold_at_most == Some(Duration::ZERO) {
            return Err(at_most_nothing());
        }
        Ok(())
    }

    #[cold]
    fn refuse(&self) -> LockError {
        let why = match self.mode {
            Mode::Permit { of: 0, .. } if !self.mixed => {
                "there are no permits to acquire: give `permits` at least 1, also beside `take`"
                    .to_owned()
            }
            Mode::Permit { take: 0, .. } if !self.mixed => {
                "`take(0)` would acquire nothing: give at least 1".to_owned()
            }
            Mode::Permit { take, of } if !self.mixed => format!(
                "`take({take})` asks for more permits than `permits({of})` has: take at most {of}, or \
                 raise `permits`"
            ),
            _ => {
                "`shared` excludes `permits` and `take`: a permit is shared with the other permits"
                    .to_owned()
            }
        };
        LockError::new(ErrorKind::PermitsMismatch, "").with_message(why)
    }
}

#[cold]
fn at_most_nothing() -> LockError {
    let why =
        "`hold_at_most` of 0 s would end the hold as it begins: give it some time, or leave it out";
    LockError::new(ErrorKind::LimitExceeded, "").with_message(why)
}

/// What a request for a permit finds on a key that is used as a lock, or the reverse (C16).
#[cold]
pub(crate) fn permits_mismatch(key: &str, asked: Mode) -> LockError {
    let (used, asked) = match asked {
        Mode::Permit { .. } => ("a lock, without `permits`", "with"),
        Mode::Shared | Mode::Exclusive => ("a set of permits", "without"),
    };
    LockError::new(ErrorKind::PermitsMismatch, key).with_message(format!(
        "`{key}` is in use as {used}, and was asked for {asked} `permits`: everybody who uses a key \
         at a time has to agree on that"
    ))
}
