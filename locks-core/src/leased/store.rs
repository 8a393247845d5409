use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::str::FromStr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::{About, LostCause, Mode, Op, Query, Token};

/// A store that grants leases: a table of a database, a key-value service.
///
/// [`Leased`](crate::Leased) makes a [`LockBackend`](crate::LockBackend) of it: queues, re-entry,
/// waiting, renewal and the telling of losses are done there. What is left to the store are five
/// steps, each of them atomic, and each safe to repeat, because it names the acquisition it is
/// about.
///
/// # Contract
/// What the implementor promises:
/// 1. **Atomic.** A [`claim`](Self::claim) decides and writes in one transaction. Two claims
///    that conflict are never both granted while the first one's lease runs (C1).
/// 2. **The store's clock.** Leases, ages and reservations are measured on one clock, that of
///    the store, and no claim is granted before the lease in its way has run out on it. A lease
///    begins when the step is carried out, never when it was sent.
/// 3. **Repeatable.** A claim repeated with the id of a hold that still stands is granted again
///    with the same token; its lease may begin again or not. Renewing, or ending, what is not
///    there says so and touches nothing: never the hold of another id (C4). A hold whose lease
///    has run out is not there, also if nobody has claimed the key since.
/// 4. **Tokens (C7)** grow with every grant of a key, whatever became of the holds before, are
///    kept for as long as [`Capabilities::tokens`](crate::Capabilities::tokens) says, and are
///    below 2^61.
/// 5. **Mode, steal and `hold_at_least`** are honoured where the capabilities declare them;
///    what they do not is refused before the store is asked.
/// 6. **Bounded.** A step answers, or fails, in bounded time. One that can block (a file, a
///    synchronous driver) may answer [`Op::Now`], but then the thread that polls is held up for
///    as long: keep it to the milliseconds of one transaction, and give the driver a time-out.
/// 7. **Errors** mean that the outcome is not known; the adapter repeats or withdraws. The kinds
///    `PermitsMismatch`, `InvalidKey`, `Unsupported`, `Unauthorized` and `LimitExceeded` mean
///    that the step was refused, and it is not repeated.
///
/// The example `own_backend` implements it over a table in SQLite and puts it to the
/// conformance kit.
///
/// What the adapter promises: ids are never used for two acquisitions; a claim whose caller has
/// given up is [ended](Self::end), also one that was not answered yet; and a hold that was not
/// confirmed in time is never taken to be held.
pub trait LeaseStore: Send + Sync + 'static {
    /// What it is called and what it can do: `exclusion`, `tokens`, `shared`, `permits`, `steal`,
    /// `bounds`, `listing` and `evict`. The other capabilities are the adapter's.
    fn about(&self) -> &About;

    /// Grants the key if nothing is in the way, else says what is.
    ///
    /// # Errors
    /// Those of the contract's seventh point.
    fn claim<'a>(&'a self, claim: &'a LeaseClaim) -> Op<'a, Claimed>;

    /// Lets the lease run for its whole length again, from now.
    ///
    /// # Errors
    /// Those of the contract's seventh point.
    fn renew<'a>(&'a self, renewal: &'a LeaseRenewal) -> Op<'a, Renewed>;

    /// Ends a hold or a reservation; says whether it was there.
    ///
    /// # Errors
    /// Those of the contract's seventh point.
    fn end<'a>(&'a self, key: &'a str, id: AcquisitionId, how: LeaseEnd) -> Op<'a, bool>;

    /// Every hold and reservation that stands.
    ///
    /// # Errors
    /// Those of the contract's seventh point.
    fn list<'a>(&'a self, query: &'a Query) -> Op<'a, Vec<LeaseEntry>>;

    /// Resolves when a hold may have ended, so that waiters look again at once. `None` if the
    /// store cannot tell: they look again from time to time anyway.
    ///
    /// It is a hint: nothing is granted or lost by it, a missed one costs time and no more.
    fn wakes(&self) -> Option<Op<'_, Wake>>;
}

/// What tells one acquisition from all others, everywhere and for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AcquisitionId(u128);

/// What a [claim](LeaseStore::claim) asks for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeaseClaim {
    /// The key, compared byte for byte.
    pub key: String,
    /// The acquisition.
    pub id: AcquisitionId,
    /// How to hold the key.
    pub mode: Mode,
    /// How long the hold stands without being renewed.
    pub lease: Duration,
    /// Take over conflicting holds that are older than this, all of them or none (C6).
    pub steal_after: Option<Duration>,
    /// Keep the key reserved until this long after the grant (C14).
    pub hold_at_least: Option<Duration>,
    /// Who asks, for others to read. Kept with the hold and given back as it is.
    pub note: String,
}

/// What a [renewal](LeaseStore::renew) asks for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeaseRenewal {
    /// The key.
    pub key: String,
    /// The acquisition.
    pub id: AcquisitionId,
    /// How long the hold stands from now without being renewed.
    pub lease: Duration,
    /// Whether the hold's age begins again as well (C6).
    pub refresh: bool,
}

/// The answer to a [claim](LeaseStore::claim).
#[derive(Clone, Debug)]
pub enum Claimed {
    /// The key is held by this acquisition.
    Granted(Token),
    /// Somebody else has it: these are in the way.
    Refused(Vec<LeaseEntry>),
}

/// The answer to a [renewal](LeaseStore::renew).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// The hold stands.
    Kept,
    /// The hold is gone; [`LostCause::Forgotten`] if the store cannot say how.
    Gone(LostCause),
}

/// How to [end](LeaseStore::end) a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEnd {
    /// Released: a reservation by `hold_at_least` remains for its time.
    Release,
    /// Given up before anybody knew of it, or ended by an administrator: nothing remains.
    Remove,
}

/// A hold or a reservation, as a store knows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeaseEntry {
    /// The key.
    pub key: String,
    /// The acquisition.
    pub id: AcquisitionId,
    /// The token of the grant.
    pub token: Token,
    /// How the key is held.
    pub mode: Mode,
    /// How long ago it was granted, or last refreshed.
    pub age: Duration,
    /// How long it stands if nothing happens.
    pub ends_in: Duration,
    /// Whether nobody holds the key any more and it is reserved (C14).
    pub reserved: bool,
    /// The note of its claim.
    pub note: String,
}

/// A hint that a hold may have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// One of this key.
    Key(String),
    /// One of any key.
    Any,
}

impl Wake {
    pub(super) fn concerns(&self, key: &str) -> bool {
        match self {
            Wake::Key(ended) => ended == key,
            Wake::Any => true,
        }
    }
}

impl LeaseClaim {
    /// A claim of `key` for exclusive use.
    pub fn new(key: impl Into<String>, id: AcquisitionId, lease: Duration) -> Self {
        Self {
            key: key.into(),
            id,
            mode: Mode::Exclusive,
            lease,
            steal_after: None,
            hold_at_least: None,
            note: String::new(),
        }
    }
}

impl LeaseRenewal {
    /// A renewal of the hold that `id` has of `key`.
    pub fn new(key: impl Into<String>, id: AcquisitionId, lease: Duration) -> Self {
        Self { key: key.into(), id, lease, refresh: false }
    }
}

impl LeaseEntry {
    /// An exclusive hold of `key`, just granted.
    pub fn new(key: impl Into<String>, id: AcquisitionId, token: Token, ends_in: Duration) -> Self {
        Self {
            key: key.into(),
            id,
            token,
            mode: Mode::Exclusive,
            age: Duration::ZERO,
            ends_in,
            reserved: false,
            note: String::new(),
        }
    }
}

impl AcquisitionId {
    /// The id that a store has kept as this number.
    pub const fn new(number: u128) -> Self {
        Self(number)
    }

    /// An id unlike any other.
    pub fn unique() -> Self {
        static FIRST: LazyLock<u128> = LazyLock::new(|| {
            // The standard library seeds these from the operating system's randomness.
            let half = || u128::from(RandomState::new().hash_one(std::process::id()));
            half() << 64 | half()
        });
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Self(FIRST.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed).into()))
    }

    /// The number, to be kept.
    pub const fn get(self) -> u128 {
        self.0
    }
}

/// As 32 hexadecimal digits, which [`FromStr`] reads back.
impl fmt::Display for AcquisitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for AcquisitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AcquisitionId({self})")
    }
}

impl FromStr for AcquisitionId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_survive_being_written_down() {
        let (one, two) = (AcquisitionId::unique(), AcquisitionId::unique());
        assert_ne!(one, two);
        assert_eq!(one.to_string().len(), 32);
        assert_eq!(one.to_string().parse(), Ok(one));
        assert_eq!(AcquisitionId::new(7).to_string().parse(), Ok(AcquisitionId::new(7)));
    }
}
