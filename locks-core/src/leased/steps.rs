//! What a store is asked, and what it answers.

use std::time::Duration;

use crate::{AcquisitionId, LostCause, Mode, Reserve, Token};

/// The arguments of a [claim](crate::LeaseStore::claim).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeaseClaim {
    /// The keys, compared byte for byte: ascending, distinct, at least one. All are granted in one
    /// step or none is ([C11](crate::contract#c11-several-keys)).
    pub keys: Vec<String>,
    /// The acquisition.
    pub id: AcquisitionId,
    /// The mode in which to hold the keys.
    pub mode: Mode,
    /// The time for which the hold stands without being renewed.
    pub lease: Duration,
    /// Take over conflicting holds that are older than this, all of them or none
    /// ([C6](crate::contract#c6-stealing)).
    pub steal_after: Option<Duration>,
    /// Keep the keys reserved until this long after the grant
    /// ([C14](crate::contract#c14-bounds-of-a-hold)).
    pub hold_at_least: Option<Duration>,
    /// [`Reserve::IfDone`]: until the hold has ended by [`LeaseEnd::Release`] that reserves, this
    /// keeps it from being stolen, and no more: a hold whose lease runs out leaves no reservation.
    pub reserve: Reserve,
    /// End the hold this long after the grant: no renewal carries it further
    /// ([C14](crate::contract#c14-bounds-of-a-hold)).
    pub hold_at_most: Option<Duration>,
    /// A description of the caller, for others to read. Kept with the hold or the place, and given
    /// back as it is.
    pub note: String,
    /// The place in the queue that a refused claim takes or keeps. `None`: the queue does not
    /// count, which is what `fair(false)` asks for ([C3](crate::contract#c3-fairness)). Means
    /// nothing to a store whose order is not [`All`](crate::WaiterOrder::All).
    pub place: Option<LeasePlace>,
}

/// A place in the queue of a key, across all clients of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeasePlace {
    /// The time for which the request has waited; the longest wait goes first. Counted back from
    /// the store's present time when the place is taken; a place that stands is kept as it is.
    pub waited: Duration,
    /// The time for which the place stands unless it is asked for again. Zero: the claim respects
    /// the queue and takes no place in it, because it does not wait.
    pub keep: Duration,
}

/// The answer to a [claim](crate::LeaseStore::claim).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Claimed {
    /// All keys are held by this acquisition, with this token.
    Granted(Token),
    /// All keys are held by this acquisition, which has stolen them from others
    /// ([C6](crate::contract#c6-stealing)). A claim that is repeated may be answered by
    /// [`Granted`](Self::Granted).
    Stolen {
        /// The token of the grant.
        token: Token,
        /// The holds that it has ended, as they were: at least one. The thief's guard names them
        /// ([`Guard::stolen_from`](crate::Guard::stolen_from)).
        from: Vec<LeaseEntry>,
    },
    /// Nothing was granted: something is in the way.
    Refused(Refusal),
    /// Nothing is granted for as long as this, because the store may have lost what it had
    /// promised: a restart without its data, a promoted replica.
    NotYet(Duration),
}

/// The reason why a claim was not granted, and the time to ask again.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Refusal {
    /// The holds and reservations in the way. May be empty if only the queue is.
    pub in_the_way: Vec<LeaseEntry>,
    /// `true` if the acquisition has a [place](LeaseClaim::place), and will be
    /// [called](crate::Wake) when its turn has come. Until then it is asked for again only to keep
    /// the place.
    pub placed: bool,
    /// The time after which to ask again without having been called, if the store knows it: a lease
    /// or reservation in the way runs out, a steal comes due, or the grace of a waiter that was
    /// called is over.
    pub again_in: Option<Duration>,
}

/// The arguments of a [renewal](crate::LeaseStore::renew).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeaseRenewal {
    /// The keys that the acquisition still holds: those of its claim, less those that have
    /// [ended](crate::LeaseStore::end).
    pub keys: Vec<String>,
    /// The acquisition.
    pub id: AcquisitionId,
    /// The time for which the hold stands from now on without being renewed.
    pub lease: Duration,
    /// `true` resets the hold's age to zero as well ([C6](crate::contract#c6-stealing)).
    pub refresh: bool,
}

/// The answer to a [renewal](crate::LeaseStore::renew).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Renewed {
    /// The hold stands, of all its keys.
    Kept,
    /// The hold of one of the keys is gone; [`LostCause::Forgotten`] if the store cannot say how.
    Gone(LostCause),
    /// This one could not be carried out, or its outcome is not known; the others of its batch have
    /// their answers. It is sent again for as long as the hold is valid.
    Unknown,
}

/// The arguments of an [end](crate::LeaseStore::end).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeaseEnding {
    /// The keys that end; other keys of the acquisition stay as they are.
    pub keys: Vec<String>,
    /// The acquisition.
    pub id: AcquisitionId,
    /// The way in which it ends.
    pub how: LeaseEnd,
    /// A request of this client waits for one of the keys, for this long already, and is about to
    /// claim. A store whose order is [`All`](crate::WaiterOrder::All) keeps the keys for this
    /// client for a moment (250 ms, or until it claims): as if it had a place that holds back
    /// the younger ones of other clients, and none of its own.
    pub next: Option<Duration>,
}

/// The way to [end](crate::LeaseStore::end) a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseEnd {
    /// The hold ends.
    Release {
        /// `true` leaves a reservation by `hold_at_least` in place for its time
        /// ([C14](crate::contract#c14-bounds-of-a-hold)); `false` ends what this acquisition has
        /// reserved as well.
        reserve: bool,
    },
    /// Nothing remains of the acquisition: no hold, no reservation, no place in the queue. It was
    /// given up before its caller knew of it, or ended by an administrator.
    Remove,
}

/// A hold, a reservation or a waiting request, as a store knows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeaseEntry {
    /// The key. An acquisition of several keys has an entry for each.
    pub key: String,
    /// The acquisition.
    pub id: AcquisitionId,
    /// The token of the grant; zero where there is none, or none yet.
    pub token: Token,
    /// The mode in which the key is held, or is to be held.
    pub mode: Mode,
    /// The time since it was granted, or last refreshed; for a waiting request, since it began to
    /// wait. `None` if the store has no clock for that
    /// ([`Capabilities::ages`](crate::Capabilities::ages)).
    pub age: Option<Duration>,
    /// The time for which it stands if nothing happens.
    pub ends_in: Duration,
    /// Its state: held, reserved or waiting.
    pub state: EntryState,
    /// The note of its claim.
    pub note: String,
}

/// The state of a [`LeaseEntry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryState {
    /// The key is held.
    Held,
    /// The hold has ended, and the key stays reserved
    /// ([C14](crate::contract#c14-bounds-of-a-hold)).
    Reserved,
    /// The key is waited for.
    Waiting,
}

impl LeaseClaim {
    /// Returns a claim of one key for exclusive use, with no place in the queue.
    pub fn new(key: impl Into<String>, id: AcquisitionId, lease: Duration) -> Self {
        Self::all([key], id, lease)
    }

    /// Returns a claim of several keys for exclusive use, in ascending order and each once.
    pub fn all(
        keys: impl IntoIterator<Item = impl Into<String>>,
        id: AcquisitionId,
        lease: Duration,
    ) -> Self {
        let mut keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        keys.sort_unstable();
        keys.dedup();
        Self {
            keys,
            id,
            mode: Mode::Exclusive,
            lease,
            steal_after: None,
            hold_at_least: None,
            reserve: Reserve::Always,
            hold_at_most: None,
            note: String::new(),
            place: None,
        }
    }
}

impl LeasePlace {
    /// Returns a place for a request that has waited for so long, to be kept for so long.
    pub const fn new(waited: Duration, keep: Duration) -> Self {
        Self { waited, keep }
    }
}

impl Refusal {
    /// Returns a refusal because of these, with no place in the queue.
    pub fn new(in_the_way: Vec<LeaseEntry>) -> Self {
        Self { in_the_way, placed: false, again_in: None }
    }
}

impl LeaseRenewal {
    /// Returns a renewal of the hold that `id` has of `keys`.
    pub fn new(keys: Vec<String>, id: AcquisitionId, lease: Duration) -> Self {
        Self { keys, id, lease, refresh: false }
    }
}

impl LeaseEnding {
    /// Returns an end of what `id` has of `keys`, for which no other request of this client waits.
    pub fn new(keys: Vec<String>, id: AcquisitionId, how: LeaseEnd) -> Self {
        Self { keys, id, how, next: None }
    }
}

impl LeaseEntry {
    /// Returns an exclusive hold of `key`, just granted.
    pub fn new(key: impl Into<String>, id: AcquisitionId, token: Token, ends_in: Duration) -> Self {
        Self {
            key: key.into(),
            id,
            token,
            mode: Mode::Exclusive,
            age: Some(Duration::ZERO),
            ends_in,
            state: EntryState::Held,
            note: String::new(),
        }
    }
}
