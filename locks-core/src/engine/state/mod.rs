//! What goes on around one key, once it is more than plainly held: the arbiter proper.
//!
//! Pure: it is told the time, and leaves what runs anybody's code to its caller (see [`Effects`]).
//! Waiting, fairness, stealing, nesting and bounds are decided here and nowhere else.

mod admit;
mod ask;
mod beside;
mod effects;
mod end;
mod gapped_queue;
mod grant;
mod hold;
mod hold_record;
mod info;
mod queue;
mod restore;
mod steal;
mod thieves;
mod waiter;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

pub(super) use admit::{KeyAnswer, KeyRefusal};
pub(super) use ask::{BARGE_WINDOW, KeyRequest};
pub(super) use beside::Passed;
pub(super) use effects::{Broken, Effects, More, Revoked};
pub(super) use end::Ended;
pub(super) use hold::{HoldEntry, SlotRecord};
pub use hold_record::HoldRecord;
pub(super) use queue::QueuePosition;
pub(super) use restore::RestoreError;
pub(super) use waiter::{Grant, Outcome, Waiter};

use self::end::LostHold;
use self::gapped_queue::GappedQueue;
use self::hold::Reservation;
use self::queue::QueueEntry;
use self::thieves::Thieves;
use crate::clock::{Alarm, Moment, Stamp};
use crate::identity::SmallOwner;
use crate::request::FastHolder;
use crate::{LostCause, Mode, OwnerId, Token};

/// All units of a lock; an exclusive hold takes them all, a shared one takes one. For a request for
/// some of `n` permits the key has `n` units (C16).
pub(super) const LOCK_UNITS: u64 = u64::MAX;

/// Above all tokens, and below the end of what a slot's word has room for.
pub(super) const PROVISIONAL: u64 = crate::token::END;

/// The state of one key.
///
/// * S1: `holds` and `reserved` are all permits or all locks. Of locks the units together are at
///   most [`LOCK_UNITS`]; of permits there is an order in which none has together with
///   those before it more than its own number.
/// * S2: an exclusive hold is alone.
/// * S3: `token` is the greatest token granted for the key so far. A hold that the upstream has not
///   granted yet has a name of its own instead, above [`PROVISIONAL`].
/// * S4: a waiter is in `queue` exactly while its outcome is that it waits; the hold that it was
///   granted names it until the grant is taken, or `handed` does for one of the fast path's, and
///   this stays until then.
/// * S5: between calls nobody waits who could be granted, but for a first waiter that has been
///   woken to come and take it (`hinted`), and while there is an errand to be run first.
pub(in crate::engine) struct State {
    /// The time, which never goes back here.
    now: Moment,
    token: Token,
    holds: SmallVec<[HoldEntry; 1]>,
    queue: GappedQueue<QueueEntry>,
    /// The waiters whose time is over, and who are woken when there is no errand any more.
    errand_watchers: Vec<QueuePosition>,
    /// Holds that were ended from outside and whose guards still live.
    lost: Vec<LostHold>,
    reserved: Vec<Reservation>,
    /// For the names of provisional holds, and to tell waiters apart that have asked at the same
    /// moment.
    next_ticket: u64,
    /// The later of the last hand-over and the queue's becoming non-empty (C3).
    barge_from: Moment,
    tally: Tally,
    thieves: Thieves,
    /// To whom a hold of the fast path was granted last, beside this: it may still have to be
    /// taken.
    handed: Option<Arc<Waiter>>,
    /// How many grants of the upstream have ended here, and not begun to end there.
    ending: usize,
    /// Tokens that were drawn for the grants to come; `None`: they just count up.
    drawn: Option<BTreeSet<Token>>,
    /// Whether the fast path may go on beside waiters.
    barges: bool,
    /// For the next thing that happens by itself.
    alarm: Option<Alarm>,
    /// What is left to do without the mutex.
    pub(super) effects: Effects,
}

/// How many waiters have a say in what they do not head (so that the rest costs nothing).
#[derive(Default, PartialEq)]
struct Tally {
    /// `fair(true)`: nobody barges past.
    fair: usize,
    /// `fair(false)`: let in beside anybody.
    unfair: usize,
    reentrant: usize,
}

/// How a slot's state is let go of, with the record to be written for its holder, if that is new.
pub(in crate::engine) enum Thaw {
    /// It decides everything.
    Not,
    /// There are waiters, the first of whom was `woken` if the key is free.
    Beside { record: Option<(FastHolder, Stamp)>, woken: Option<Moment> },
    /// There is nothing but the holder.
    Wholly(Option<(FastHolder, Stamp)>),
}

impl State {
    /// That of a free key. Its tokens come from elsewhere if they are `drawn`; with a fast path,
    /// newcomers may barge by that.
    pub(in crate::engine) fn new(drawn: bool, barges: bool, now: Moment) -> Self {
        Self {
            now,
            token: Token::new(0),
            holds: SmallVec::new(),
            queue: GappedQueue::new(),
            errand_watchers: Vec::new(),
            lost: Vec::new(),
            reserved: Vec::new(),
            next_ticket: 0,
            barge_from: now,
            tally: Tally::default(),
            thieves: Thieves::default(),
            handed: None,
            ending: 0,
            drawn: drawn.then(BTreeSet::new),
            barges,
            alarm: None,
            effects: Effects::default(),
        }
    }

    /// Takes over the hold of the fast path that was there when the slot was frozen.
    pub(in crate::engine) fn adopt(&mut self, record: Option<SlotRecord>, now: Moment) {
        self.now = self.now.max(now);
        let mut hold = HoldEntry::adopted(self.token, record, self.now);
        hold.levels[0].pending = self.handed.take().filter(|waiter| waiter.is_granted(self.token));
        self.holds.push(hold);
    }

    /// Completes the hold that was adopted before its holder had written its record.
    pub(in crate::engine) fn complete(&mut self, read: impl FnOnce() -> Option<SlotRecord>) {
        if let [only] = self.holds.as_mut_slice()
            && only.is_unrecorded()
            && let Some(record) = read()
        {
            only.record(record);
        }
    }

    /// Lets time pass: ends what is bounded, and steals what is due.
    pub(in crate::engine) fn advance(&mut self, now: Moment) {
        self.now = self.now.max(now);
        let before = self.reserved.len();
        self.reserved.retain(|reservation| reservation.until > self.now);
        let mut changed = self.reserved.len() != before;
        while let Some(index) = self.holds.iter().position(|hold| hold.ended_by(self.now)) {
            self.revoke(index, LostCause::HeldTooLong);
            changed = true;
        }
        if changed || self.first_due_thief().is_some() {
            self.grant_waiters();
        }
    }

    pub(in crate::engine) fn now(&self) -> Moment {
        self.now
    }

    pub(in crate::engine) fn token(&self) -> Token {
        self.token
    }

    /// Raises the greatest token to this one, for a grant that spans several keys (C11).
    pub(in crate::engine) fn raise_token(&mut self, token: Token) {
        self.token = self.token.max(token);
    }

    pub(in crate::engine) fn is_held(&self) -> bool {
        !self.holds.is_empty()
    }

    /// Returns the wait so far of the first that waits here: in the queue, or for the upstream's
    /// answer.
    pub(in crate::engine) fn next_waits(&self) -> Option<Duration> {
        let first = self.queue.first().map(|(_, entry)| entry.waiter.since);
        let provisional = self.holds.iter().filter(|hold| !hold.is_granted());
        let provisional = provisional.map(|hold| hold.provisional_since.unwrap_or(self.now));
        provisional.chain(first).min().map(|since| self.now.since(since))
    }

    pub(in crate::engine) fn holds(&self) -> &[HoldEntry] {
        &self.holds
    }

    pub(in crate::engine) fn hold_mut(
        &mut self,
        token: Token,
        level: u32,
    ) -> Option<&mut HoldEntry> {
        let (index, _) = self.find(token, level)?;
        Some(&mut self.holds[index])
    }

    pub(in crate::engine) fn waiters(&self) -> impl Iterator<Item = (QueuePosition, &Waiter)> {
        self.queue.iter().map(|(place, entry)| (place, &*entry.waiter))
    }

    /// Until when the key is reserved, although nobody holds it for that (C14).
    pub(in crate::engine) fn reserved_until(&self) -> Option<Moment> {
        self.reserved.iter().map(|reservation| reservation.until).max()
    }

    /// The tokens of the holds that have left it reserved (C14).
    pub(in crate::engine) fn reserved_by(&self) -> Vec<Token> {
        self.reserved.iter().map(|reservation| reservation.token).collect()
    }

    /// The mode of one who uses the key; all others have agreed with that one on whether it is a
    /// lock or a set of permits (C16). `None`: the key is unused.
    fn used_as(&self) -> Option<Mode> {
        let held = self.holds.first().map(|hold| hold.mode);
        let reserved = || self.reserved.first().map(|reservation| reservation.mode);
        let wanted = || self.queue.first().map(|(_, entry)| entry.waiter.ask.mode);
        held.or_else(reserved).or_else(wanted)
    }

    /// Whether the key can be used in this mode, beside those who use it (C16).
    fn agrees_with(&self, mode: Mode) -> bool {
        self.used_as().is_none_or(|used| used.takes_permits() == mode.takes_permits())
    }

    /// How the slot is let go of (I3 of the slot). Beside waiters who let others barge, the holds
    /// are the fast path's, which leaves releases to this.
    pub(in crate::engine) fn thaw(&mut self) -> Thaw {
        let record = match self.holds.as_slice() {
            _ if !self.lost.is_empty() || !self.reserved.is_empty() || self.ending > 0 => None,
            [] => Some(None),
            [only] => only.as_plain(self.token),
            _ => None,
        };
        let Some(record) = record else { return Thaw::Not };
        let pending = self.holds.first().and_then(|only| only.pending());
        let first = self.queue.first();
        if first.is_none() && pending.is_none() {
            return Thaw::Wholly(record);
        }
        let hinted = first.and_then(|(_, first)| first.hinted);
        let woken = hinted.filter(|_| self.holds.is_empty());
        if !self.lets_barge() || self.holds.is_empty() && woken.is_none() {
            return Thaw::Not;
        }
        self.handed = pending.cloned();
        self.holds.clear();
        Thaw::Beside { record, woken }
    }

    /// When something happens by itself, if no alarm is set that is early enough: a reservation or
    /// a bounded hold ends, or a theft is due.
    pub(in crate::engine) fn needs_alarm(&self) -> Option<Moment> {
        let ends = self.holds.iter().filter_map(|hold| hold.ends_at);
        let reserved = self.reserved.iter().map(|reservation| reservation.until);
        let next = ends.chain(reserved).chain(self.next_theft()).min()?;
        // One that goes off too early costs less than setting another at each grant.
        let set = self.alarm.as_ref().filter(|alarm| !alarm.is_inherited());
        set.is_none_or(|alarm| alarm.at() > next).then_some(next)
    }

    /// Whether an alarm is set that goes off by then.
    fn has_alarm_by(&self, at: Moment) -> bool {
        self.alarm.as_ref().is_some_and(|alarm| !alarm.is_inherited() && alarm.at() <= at)
    }

    /// Has the alarm for what happens next. The one before is called off by whoever drops it.
    pub(in crate::engine) fn set_alarm(&mut self, alarm: Option<Alarm>) -> Option<Alarm> {
        std::mem::replace(&mut self.alarm, alarm)
    }

    /// The upstream has heard of the end of so many grants.
    pub(in crate::engine) fn have_begun_to_end(&mut self, grants: usize) {
        self.ending -= grants;
    }

    /// A token was drawn.
    pub(in crate::engine) fn add_token(&mut self, token: Token) {
        if let Some(drawn) = &mut self.drawn {
            drawn.insert(token);
            // Each request draws one, also that which is refused then.
            while drawn.len() > self.queue.len() + 2 {
                drawn.pop_first();
            }
        }
    }

    /// Whether the upstream has to hear of an end before the next grant.
    pub(super) fn has_errand(&self) -> bool {
        self.ending > 0
    }

    /// Whether a token has to be drawn before there is another grant; that is seen to then. Those
    /// that others have overtaken meanwhile are thrown away.
    fn lacks_token(&mut self) -> bool {
        let Some(drawn) = &mut self.drawn else { return false };
        *drawn = drawn.split_off(&Token::new(self.token.get() + 1));
        let lacks = drawn.is_empty();
        if lacks {
            self.effects.more().draws = true;
        }
        lacks
    }

    fn used(&self) -> u64 {
        let held = self.holds.iter().map(|hold| hold.mode.units());
        let reserved = self.reserved.iter().map(|reservation| reservation.mode.units());
        held.chain(reserved).fold(0, u64::saturating_add)
    }

    fn fits(&self, mode: Mode) -> bool {
        mode.capacity().saturating_sub(self.used()) >= mode.units()
    }

    fn next_token(&mut self) -> Token {
        let next = match &mut self.drawn {
            None => Token::new(self.token.get() + 1),
            Some(drawn) => drawn.pop_first().expect("`lacks_token` was asked before"),
        };
        self.token = self.token.max(next);
        self.token
    }

    fn next_provisional(&mut self) -> Token {
        self.next_ticket += 1;
        Token::new(PROVISIONAL + self.next_ticket)
    }
}

/// A mode in units.
pub(in crate::engine) trait Units {
    fn units(self) -> u64;
    /// Returns how many units there are for it.
    fn capacity(self) -> u64;
    fn takes_permits(self) -> bool;
    /// Exclusive above the others.
    fn outranks(self, other: Mode) -> bool;
    /// More permits than the other.
    fn exceeds(self, other: Mode) -> bool;
}

impl Units for Mode {
    fn units(self) -> u64 {
        match self {
            Mode::Exclusive => LOCK_UNITS,
            Mode::Shared => 1,
            Mode::Permit { take, .. } => take.into(),
        }
    }

    fn capacity(self) -> u64 {
        match self {
            Mode::Exclusive | Mode::Shared => LOCK_UNITS,
            Mode::Permit { of, .. } => of.into(),
        }
    }

    fn takes_permits(self) -> bool {
        matches!(self, Mode::Permit { .. })
    }

    fn outranks(self, other: Mode) -> bool {
        matches!((self, other), (Mode::Exclusive, Mode::Shared))
    }

    fn exceeds(self, other: Mode) -> bool {
        self.takes_permits() && self.units() > other.units()
    }
}

/// The owner as the slot's record can hold it; `None` if it cannot.
pub(in crate::engine) fn small(owner: Option<OwnerId>) -> Option<SmallOwner> {
    match owner {
        None => Some(SmallOwner::NOBODY),
        Some(owner) => owner.small(),
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("token", &self.token)
            .field("holds", &self.holds.len())
            .field("queue", &self.queue.len())
            .field("lost", &self.lost.len())
            .field("reserved", &self.reserved.len())
            .finish()
    }
}
