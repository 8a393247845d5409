//! The end of a lease, where that is what keeps the lock: it moves on with each renewal.

use std::time::{Duration, Instant};

use super::held::CommandHold;
use super::schedule::kill_after_for;
use crate::status::Failure;

/// How often to look whether there is an end by now: a server on a Unix socket keeps a lock by its
/// holder's process, until the connection is lost.
const LOOK: Duration = Duration::from_secs(1);

/// What is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaseEnd {
    /// There is none, or it is not near; to be looked at again then, if ever.
    Far(Option<Instant>),
    /// Unless a renewal gets through, those who work under the lock have so long to put things in
    /// order.
    Near,
}

/// How near the end is, to those who are to be told `kill_after` before it.
pub(crate) fn look(held: &CommandHold, kill_after: Option<Duration>) -> LeaseEnd {
    let now = Instant::now();
    match held.validity() {
        Some((lease, left)) => {
            let kill_after = kill_after_for(kill_after, Some(lease));
            match left.checked_sub(kill_after).filter(|left| !left.is_zero()) {
                Some(left) => LeaseEnd::Far(now.checked_add(left)),
                None => LeaseEnd::Near,
            }
        }
        None => LeaseEnd::Far(held.may_have_lease().then(|| now + LOOK)),
    }
}

/// Refuses what would leave no time for renewals.
pub(super) fn check(held: &CommandHold, kill_after: Option<Duration>) -> Result<(), Failure> {
    match (kill_after, held.validity()) {
        (Some(kill_after), Some((lease, _))) if kill_after > lease / 2 => {
            Err(Failure::new(format!(
                "`--kill-after` is more than half of the lease, {lease:?}: the command would be ended for want of a \
             single renewal; make it shorter, or the lease longer by `--lease`"
            )))
        }
        _ => Ok(()),
    }
}
