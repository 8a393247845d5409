//! Owners that processes hand to each other (C9).

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::{OwnerId, OwnerKind};
use crate::{ErrorKind, LockError};

/// An identity that processes can pass to each other: 128 random bits, and all requests that name
/// them count as one holder, in every process ([C9](crate::contract#c9-re-entry)).
///
/// So a lock can be handed over to a child on purpose:
/// [`LockBuilder::shared_owner`](crate::LockBuilder::shared_owner) names it where the lock is
/// acquired, and the child, which was given it as text, re-enters with
/// [`reentrant`](crate::LockBuilder::reentrant). Both then have a guard of one hold, with one
/// fencing token; the lock is free when both have ended, in either order. `locks run --hand-over`
/// does it for commands, in the variable [`ENV`](Self::ENV).
///
/// It is a capability: a request that knows it enters beside its holders. So `Debug` does not show
/// it, and errors, lists and the files of a server have its [`id`](Self::id), from which it cannot
/// be found. `Display` is the text to hand on, of 32 hexadecimal digits, and `FromStr` reads it.
///
/// # Examples
/// ```
/// use locks::SharedOwner;
///
/// let owner = SharedOwner::random();
/// let guard = locks::named("deploy").shared_owner(owner).acquire()?;
///
/// // A child is given `owner.to_string()`, and does this:
/// let same: SharedOwner = owner.to_string().parse()?;
/// let inner = locks::named("deploy").shared_owner(same).reentrant().wait(false).acquire()?;
/// assert_eq!(inner.token(), guard.token());
/// # drop((guard, inner));
/// # Ok::<(), locks::LockError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SharedOwner([u8; 16]);

impl SharedOwner {
    /// The environment variable by which `locks run --hand-over` gives it to its command, and which
    /// [`from_env`](Self::from_env) reads.
    pub const ENV: &str = "LOCKS_OWNER";

    /// Creates a random owner, different from every other one.
    ///
    /// # Examples
    /// ```
    /// use locks::SharedOwner;
    /// assert_ne!(SharedOwner::random(), SharedOwner::random());
    /// ```
    pub fn random() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // The keys are the system's random bits, and a forked child has its parent's: what is
        // hashed differs there, as it does from call to call.
        let keys = RandomState::new();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let half = |half: u8| {
            let process = (std::process::id(), crate::fork::generation());
            keys.hash_one((half, process, count, now)).to_ne_bytes()
        };
        let (low, high) = (half(0), half(1));
        Self(std::array::from_fn(|at| if at < 8 { low[at] } else { high[at - 8] }))
    }

    /// Returns the owner that was passed to this process in the variable [`ENV`](Self::ENV), or
    /// `None` if that is not set.
    ///
    /// # Errors
    /// `NotConfigured` if the variable has something else in it.
    ///
    /// # Examples
    /// ```
    /// use locks::SharedOwner;
    ///
    /// // Under `locks run --hand-over deploy -- …` it re-enters; without, it acquires as its thread.
    /// let guard = locks::named("deploy")
    ///     .shared_owner(SharedOwner::from_env()?)
    ///     .reentrant()
    ///     .acquire()?;
    /// # drop(guard);
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn from_env() -> Result<Option<Self>, LockError> {
        let Some(text) = std::env::var_os(Self::ENV) else { return Ok(None) };
        let parsed = text.to_str().and_then(parse);
        parsed.map(Some).ok_or_else(|| malformed(&format!("the variable `{}`", Self::ENV)))
    }

    /// Returns the identity that lists and errors show: the same in all processes, and the owner
    /// cannot be found from it.
    ///
    /// # Examples
    /// ```
    /// use locks::SharedOwner;
    ///
    /// let owner = SharedOwner::random();
    /// let guard = locks::named("deploy").shared_owner(owner).acquire()?;
    /// let holders = &locks::list()?[0].holders;
    /// assert_eq!(holders[0].owner, Some(owner.id()));
    /// # drop(guard);
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn id(&self) -> OwnerId {
        OwnerId::local(OwnerKind::Shared, siphash(self.0))
    }

    /// Returns the 16 bytes, for a backend that sends them.
    #[doc(hidden)]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Returns the owner with these bytes.
    #[doc(hidden)]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// SipHash-2-4 of nothing with this key. To find a key by such a hash is what it is made to
/// prevent.
fn siphash(key: [u8; 16]) -> u64 {
    #[expect(
        deprecated,
        reason = "its successor, `DefaultHasher`, is of an algorithm that may change"
    )]
    fn hash(low: u64, high: u64) -> u64 {
        std::hash::Hasher::finish(&std::hash::SipHasher::new_with_keys(low, high))
    }
    let half = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| key[at + byte]));
    hash(half(0), half(8))
}

fn parse(text: &str) -> Option<SharedOwner> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(|bits| SharedOwner(bits.to_be_bytes()))
}

fn malformed(what: &str) -> LockError {
    // Not what it has: that may be meant for nobody's eyes.
    let why = format!("{what} is not the text of a shared owner, which is 32 hexadecimal digits");
    LockError::new(ErrorKind::NotConfigured, "").with_message(why)
}

impl FromStr for SharedOwner {
    type Err = LockError;

    fn from_str(text: &str) -> Result<Self, LockError> {
        parse(text).ok_or_else(|| malformed("what was given"))
    }
}

impl fmt::Display for SharedOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SharedOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedOwner({})", self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c9_its_text_is_read_back_and_nothing_else_is() {
        let owner = SharedOwner::random();
        let text = owner.to_string();
        assert_eq!((text.len(), text.parse::<SharedOwner>().unwrap()), (32, owner));
        assert_eq!(text.to_uppercase().parse::<SharedOwner>().unwrap(), owner);
        let wrong =
            ["", &text[1..], &format!("{text}0"), &format!("+{}", &text[1..]), &"é".repeat(16)];
        for wrong in wrong {
            let error = wrong.parse::<SharedOwner>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConfigured);
            assert!(wrong.is_empty() || !error.to_string().contains(wrong), "{error}");
        }
    }

    #[test]
    fn c9_what_is_shown_of_it_is_its_id_alone() {
        // The reference's vectors have the first one: 64-bit output, no input, key 00 01 … 0f.
        let owner = SharedOwner(std::array::from_fn(|at| at as u8));
        assert_eq!(owner.id().to_parts(), (0, 6, 0x726f_db47_dd0e_0e31));
        assert_eq!(owner.to_string(), "000102030405060708090a0b0c0d0e0f");
        assert_eq!(owner.id().to_string(), "shared owner 726fdb47dd0e0e31");
        assert_eq!(format!("{owner:?}"), "SharedOwner(shared owner 726fdb47dd0e0e31)");
    }

    #[test]
    fn c9_it_is_the_same_in_every_realm_and_knows_whose_it_is() {
        let owner = SharedOwner::random().id();
        let there = owner.in_realm(7);
        assert_eq!((there, there.realm()), (owner, 7));
        assert_eq!(there.spread(), owner.spread());
        let hash = |owner: OwnerId| foldhash::fast::FixedState::default().hash_one(owner);
        assert_eq!(hash(there), hash(owner));
        assert_eq!(there.cmp(&owner), std::cmp::Ordering::Equal);
        assert_ne!(SharedOwner::random().id(), owner);
        assert_ne!(OwnerId::from(owner.to_parts().2), owner);
        assert_ne!(OwnerId::from(7).in_realm(7), OwnerId::from(7));
    }
}
