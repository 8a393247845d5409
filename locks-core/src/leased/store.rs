use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::steps::{Claimed, LeaseClaim, LeaseEnding, LeaseEntry, LeaseRenewal, Renewed};
use super::wake_sink::WakeSink;
use crate::{BackendInfo, Op, Query};

/// A store that grants leases: a table of a database, a key-value service.
///
/// [`Leased`](crate::Leased) makes a [`LockBackend`](crate::LockBackend) of it: queues within the
/// process, re-entry, waiting, renewal and reports of losses are done there. What is left to the
/// store are four steps, each of them atomic, and each safe to repeat, because it names the
/// acquisition that it is about.
///
/// # Contract
/// An implementation keeps these clauses:
/// 1. **Atomic.** A [`claim`](Self::claim) decides and writes in one transaction, for all of its
///    keys: all are granted or none is. Two claims that conflict are never both granted while the
///    first one's lease runs, in whatever mode ([C1](crate::contract#c1-exclusion)).
/// 2. **The store's clock.** Leases, ages, reservations and places are measured on one clock, that
///    of the store, and no claim is granted before the lease in its way has run out on it. A lease
///    begins when the step is carried out, never when it was sent.
/// 3. **Repeatable.** A claim repeated with the id of a hold that still stands is granted again
///    with the same token; its lease may begin again or not. Renewing, or ending, what is not there
///    says so and touches nothing: never the hold of another id ([C4](crate::contract#c4-release)).
///    A hold whose lease has run out is not there, even if no other claim of the key has come
///    since.
/// 4. **Tokens ([C7](crate::contract#c7-fencing-tokens))** grow with every grant of a key, whatever
///    became of the holds before, are kept for as long as
///    [`Capabilities::tokens`](crate::Capabilities::tokens) says, and are below 2^61. The one token
///    of several keys is above every earlier one of each; a store that takes [several
///    keys](crate::Capabilities::several_keys) has one count for all of them.
/// 5. **Steals ([C6](crate::contract#c6-stealing))** take every hold in the way or none: all of
///    them held, older than `steal_after`, and past their `hold_at_least`. They do not stand in the
///    queue. A permit takes the fewest and oldest holds that make room.
/// 6. **Permits ([C16](crate::contract#c16-permits)).** Each claim obeys its own number: it is
///    granted while the key has fewer holds and reservations than that, whatever numbers these were
///    granted with. Locks and permits on one key at a time are `PermitsMismatch`. No claim asks for
///    more than one permit: the adapter refuses [those that do](crate::LockBuilder::take).
/// 7. **The queue**, where [`order`](crate::Capabilities::order) is `All`: a claim with a
///    [place](LeaseClaim::place) is not granted while a place that has waited for longer stands in
///    its way, and is placed when it is refused. A place ends when it is granted, ended, or not
///    asked for again in time. When a hold or a place ends, when one is granted that others fit
///    beside, and when a claim is refused although the key is free, those whose turn it is are
///    called ([`wakes`](Self::wakes)); one that is called and does not claim within 250 ms loses
///    its place, so that a dead client delays the others no longer. A store may add time for a slow
///    link: ours add twice the answer time, at most 5 s.
/// 8. **Bounded.** A step answers, or fails, in bounded time. One that can block (a file, a
///    synchronous driver) may answer [`Op::Now`], but then the thread that polls is held up for as
///    long: keep it to the milliseconds of one transaction, and give the driver a time-out.
/// 9. **Errors** mean that the outcome is not known; the adapter repeats or withdraws. The kinds
///    `PermitsMismatch`, `InvalidKey`, `Unsupported`, `Unauthorized` and `LimitExceeded` mean that
///    the step was refused and nothing was done, and it is not repeated.
///
/// The adapter refuses requests for capabilities that are not declared before it asks the store. An
/// id is never used for two acquisitions; a claim whose caller has given up is [ended](Self::end),
/// answered or not; steps of one acquisition are begun in order, and where an end may have been
/// overtaken it is repeated; and a hold that was not confirmed in time is never taken to be held.
///
/// # Example
/// A store in memory, which grants locks for exclusive use. The example `own_backend` does all of
/// it over a table in SQLite and runs the conformance kit.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
/// use std::time::{Duration, Instant};
///
/// use locks::backend::{
///     BackendInfo, AcquisitionId, Capabilities, Claimed, Exclusion, LeaseClaim, LeaseEnding, LeaseEntry,
///     LeaseRenewal, LeaseStore, Leased, Op, Query, Refusal, Renewed, TokenScope, Wake,
/// };
/// use locks::{LockError, LostCause, Token};
///
/// struct Memory {
///     about: BackendInfo,
///     table: Mutex<Table>,
/// }
///
/// #[derive(Default)]
/// struct Table {
///     token: u64,
///     /// By their keys.
///     holds: HashMap<String, Held>,
/// }
///
/// struct Held {
///     id: AcquisitionId,
///     token: Token,
///     ends: Instant,
///     /// Says to others what holds the key; the adapter's to read.
///     note: String,
/// }
///
/// impl Table {
///     fn holder(&self, key: &str) -> Option<&Held> {
///         self.holds.get(key).filter(|held| held.ends > Instant::now())
///     }
/// }
///
/// impl LeaseStore for Memory {
///     fn about(&self) -> &BackendInfo {
///         &self.about
///     }
///
///     fn claim<'a>(&'a self, claim: &'a LeaseClaim) -> Op<'a, Claimed> {
///         let mut table = self.table.lock().unwrap();
///         let key = &claim.keys[0]; // It does not declare several keys.
///         if let Some(held) = table.holder(key) {
///             return Op::ready(match held.id == claim.id {
///                 true => Claimed::Granted(held.token),
///                 false => {
///                     let left = held.ends.saturating_duration_since(Instant::now());
///                     let mut entry = LeaseEntry::new(key, held.id, held.token, left);
///                     entry.note = held.note.clone();
///                     Claimed::Refused(Refusal::new(vec![entry]))
///                 }
///             });
///         }
///         table.token += 1;
///         let (id, token) = (claim.id, Token::new(table.token));
///         let (ends, note) = (Instant::now() + claim.lease, claim.note.clone());
///         table.holds.insert(key.clone(), Held { id, token, ends, note });
///         Op::ready(Claimed::Granted(token))
///     }
///
///     fn renew<'a>(&'a self, renewals: &'a [LeaseRenewal]) -> Op<'a, Vec<Renewed>> {
///         let mut table = self.table.lock().unwrap();
///         let renew = |renewal: &LeaseRenewal| match table.holds.get_mut(&renewal.keys[0]) {
///             Some(held) if held.id == renewal.id && held.ends > Instant::now() => {
///                 held.ends = Instant::now() + renewal.lease;
///                 Renewed::Kept
///             }
///             _ => Renewed::Gone(LostCause::Forgotten),
///         };
///         Op::ready(renewals.iter().map(renew).collect())
///     }
///
///     fn end<'a>(&'a self, ending: &'a LeaseEnding) -> Op<'a, bool> {
///         let mut table = self.table.lock().unwrap();
///         let key = &ending.keys[0];
///         let is_there = table.holder(key).is_some_and(|held| held.id == ending.id);
///         if is_there {
///             table.holds.remove(key);
///         }
///         Op::ready(is_there)
///     }
///
///     fn list<'a>(&'a self, _: &'a Query) -> Op<'a, Vec<LeaseEntry>> {
///         Op::failed(LockError::unsupported("memory", "list", "it is an example"))
///     }
///
///     fn wakes(&self) -> Option<Op<'_, Wake>> {
///         None
///     }
/// }
///
/// let about = BackendInfo::new("memory", Capabilities::plain(Exclusion::Lease, TokenScope::Process));
/// let store = Memory { about, table: Mutex::default() };
/// let backend = Leased::builder(store).lease(Duration::from_secs(5)).build().into_backend();
/// let guard = backend.named("invoice:42").acquire()?;
/// assert!(backend.named("invoice:42").wait(false).acquire().is_err());
/// guard.release()?;
/// # Ok::<(), LockError>(())
/// ```
pub trait LeaseStore: Send + Sync + 'static {
    /// Returns the name and the capabilities. `deadlock_detection`, `reentrant`, `upgrade`,
    /// `several_permits` and `listing_waiters` are the adapter's, whatever it says here.
    fn about(&self) -> &BackendInfo;

    /// Grants all keys of the claim if nothing is in the way, and otherwise returns the holds and
    /// reservations that are.
    ///
    /// # Errors
    /// Those of the contract's ninth point.
    fn claim<'a>(&'a self, claim: &'a LeaseClaim) -> Op<'a, Claimed>;

    /// Renews leases: each runs for its whole length again, from now. Answers in the same order.
    /// Each renewal is atomic for all of its keys; the batch need not be. If one of them fails, its
    /// answer is [`Unknown`](Renewed::Unknown) and the others keep theirs.
    ///
    /// # Errors
    /// Those of the contract's ninth point, for the whole batch.
    fn renew<'a>(&'a self, renewals: &'a [LeaseRenewal]) -> Op<'a, Vec<Renewed>>;

    /// Ends holds, reservations and places. Returns `true` if there was a hold or a reservation to
    /// end.
    ///
    /// # Errors
    /// Those of the contract's ninth point.
    fn end<'a>(&'a self, ending: &'a LeaseEnding) -> Op<'a, bool>;

    /// Returns every hold and reservation that stands, and every place.
    ///
    /// # Errors
    /// Those of the contract's ninth point.
    fn list<'a>(&'a self, query: &'a Query) -> Op<'a, Vec<LeaseEntry>>;

    /// Resolves when a hold may have ended, so that waiters claim again at once. `None` if the
    /// store cannot tell, or [pushes](Self::subscribe): waiters look again from time to time
    /// anyway.
    ///
    /// It is a hint: nothing is granted or lost by it, a missed one costs time and no more. It is
    /// polled on the adapter's own thread.
    fn wakes(&self) -> Option<Op<'_, Wake>>;

    /// Passes the store a sink for its hints, before the first step. Returns `true` if it pushes
    /// hints there, from a thread of its own; then [`wakes`](Self::wakes) is not asked, and no hint
    /// has to pass through another thread. A store that does not push leaves this as it is.
    fn subscribe(&self, sink: WakeSink) -> bool {
        drop(sink);
        false
    }

    /// Returns the range of leases that this store takes, for the error of a request outside the
    /// adapter's 300 ms to a day. A lease within that and outside the store's range is refused by
    /// [`claim`](Self::claim). Any, unless overridden.
    fn leases(&self) -> RangeInclusive<Duration> {
        Duration::ZERO..=Duration::MAX
    }

    /// Returns a description of the server at the other end, for people; `None` before the first
    /// answer, and where there is no server.
    fn served_by(&self) -> Option<String> {
        None
    }

    /// Returns `true` if the store can also be used in a child that was forked without `exec`,
    /// where none of the parent's threads is and any of its mutexes may be locked: by connections
    /// of the child's own. Then the child's first request [subscribes](Self::subscribe) anew, and
    /// goes on from there. Unless overridden, a child's requests fail with `Unavailable`.
    fn works_in_children(&self) -> bool {
        false
    }
}

/// A hint that a hold may have ended, or that a place has been called.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wake {
    /// One of this key.
    Key(String),
    /// One of any key.
    Any,
    /// No hold has changed, but all waiters ask again: a store that cannot call them for a while
    /// sends this as often as they should ask.
    Waiters,
}

impl Wake {
    /// Whether a hold of these keys may have ended.
    pub(super) fn concerns(&self, keys: &[String]) -> bool {
        match self {
            Wake::Key(ended) => keys.contains(ended),
            Wake::Any => true,
            Wake::Waiters => false,
        }
    }
}

macro_rules! forward {
    ($pointer:ident) => {
        impl<S: LeaseStore + ?Sized> LeaseStore for $pointer<S> {
            fn about(&self) -> &BackendInfo {
                (**self).about()
            }

            fn claim<'a>(&'a self, claim: &'a LeaseClaim) -> Op<'a, Claimed> {
                (**self).claim(claim)
            }

            fn renew<'a>(&'a self, renewals: &'a [LeaseRenewal]) -> Op<'a, Vec<Renewed>> {
                (**self).renew(renewals)
            }

            fn end<'a>(&'a self, ending: &'a LeaseEnding) -> Op<'a, bool> {
                (**self).end(ending)
            }

            fn list<'a>(&'a self, query: &'a Query) -> Op<'a, Vec<LeaseEntry>> {
                (**self).list(query)
            }

            fn wakes(&self) -> Option<Op<'_, Wake>> {
                (**self).wakes()
            }

            fn subscribe(&self, sink: WakeSink) -> bool {
                (**self).subscribe(sink)
            }

            fn leases(&self) -> RangeInclusive<Duration> {
                (**self).leases()
            }

            fn served_by(&self) -> Option<String> {
                (**self).served_by()
            }

            fn works_in_children(&self) -> bool {
                (**self).works_in_children()
            }
        }
    };
}

forward!(Box);
forward!(Arc);
