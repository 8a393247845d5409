//! What goes on around one key, once it is more than plainly held: the arbiter proper.
//!
//! Pure: it takes the time as an argument and leaves the waking to its caller (see [`Effects`]).
//! Waiting, fairness, stealing, nesting and bounds are decided here and nowhere else.

mod admit;
mod ask;
mod end;
mod hold;
mod line;
mod queue;
mod restore;
mod settle;
mod steal;

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

pub(super) use ask::{Answer, Ask, Refusal};
pub(super) use end::Ended;
pub(super) use hold::HoldEntry;
pub(super) use queue::{Look, Place, Waiter};
pub(super) use restore::Misfit;

use self::end::LostHold;
use self::hold::Reservation;
use self::line::Line;
use super::TokenSource;
use super::effects::Effects;
use super::slot::Record;
use crate::clock::{Alarm, Moment, Stamp};
use crate::identity::SmallOwner;
use crate::request::Swift;
use crate::{Mode, OwnerId, Token};

/// All units of a lock; an exclusive hold takes them all, a shared one takes one. For a request for
/// one of `n` permits the key has `n` units (C16).
pub(super) const LOCK_UNITS: u64 = u64::MAX;

/// Above all tokens, and below the end of what a slot's word has room for.
pub(super) const TURNS: u64 = crate::token::END;

/// The state of one key.
///
/// * S1: `holds` and `reserved` are all permits or all locks. Of locks the units together are at
///   most [`LOCK_UNITS`]; of permits, in the order of their tokens, none has more before it than its
///   own number lets in.
/// * S2: an exclusive hold is alone.
/// * S3: `token` is the greatest token granted for the key so far. A turn that the upstream has not
///   granted yet has a name of its own instead, above [`TURNS`].
/// * S4: a place is in `queue`, or in `settled`, or done with; never in two of them.
/// * S5: between calls nobody waits who could be granted, but for a first waiter that has been
///   woken to come and take it (`hinted`).
pub(in crate::engine) struct State {
    token: Token,
    holds: SmallVec<[HoldEntry; 1]>,
    queue: Line<Box<Waiter>>,
    /// What has become of waiters that have not looked yet.
    settled: Line<Settled>,
    /// Holds that were ended from outside and whose guards still live.
    lost: Vec<LostHold>,
    reserved: Vec<Reservation>,
    /// For the names of turns, and to tell waiters apart that have asked at the same moment.
    next_ticket: u64,
    /// The place in time of whoever has come last.
    latest: Moment,
    /// Where tokens come from, if they do not just count up.
    source: Option<Arc<dyn TokenSource>>,
    tally: Tally,
    /// For the next thing that happens by itself: a bound that is reached.
    alarm: Option<Alarm>,
}

/// How many waiters have a say in what they do not head (so that the rest costs nothing).
#[derive(Default)]
struct Tally {
    /// `fair(true)`: nobody barges past.
    fair: usize,
    /// `fair(false)`: let in beside anybody.
    unfair: usize,
    thieves: usize,
    reentrant: usize,
}

/// A waiter's grant, to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Settled {
    pub(in crate::engine) token: Token,
    pub(in crate::engine) level: u32,
}

impl State {
    pub(in crate::engine) fn new(token: Token, source: Option<Arc<dyn TokenSource>>) -> Self {
        Self {
            token,
            holds: SmallVec::new(),
            queue: Line::new(),
            settled: Line::new(),
            lost: Vec::new(),
            reserved: Vec::new(),
            next_ticket: 0,
            latest: Moment::from_nanos(0),
            source,
            tally: Tally::default(),
            alarm: None,
        }
    }

    /// Takes over the hold of the fast path that was there when the slot was frozen.
    pub(in crate::engine) fn adopt(&mut self, record: Option<Record>, now: Moment) {
        self.holds.push(HoldEntry::adopted(self.token, record, now));
    }

    /// Completes the hold that was adopted before its holder had written its record.
    pub(in crate::engine) fn complete(&mut self, read: impl FnOnce() -> Option<Record>) {
        if let [only] = self.holds.as_mut_slice()
            && only.is_unrecorded()
            && let Some(record) = read()
        {
            only.record(record);
        }
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

    /// For how long the next one has waited, if anybody waits: in the queue, or with a turn for the
    /// upstream to grant it.
    pub(in crate::engine) fn next_waits(&self, now: Moment) -> Option<Duration> {
        let first = self.queue.first().map(|(_, waiter)| waiter.since);
        let turns = self.holds.iter().filter(|hold| !hold.is_granted());
        let turns = turns.map(|turn| turn.turn_since.unwrap_or(now));
        turns.chain(first).min().map(|since| now.since(since))
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

    pub(in crate::engine) fn waiters(&self) -> impl Iterator<Item = (Place, &Waiter)> {
        self.queue.iter().map(|(place, waiter)| (place, &**waiter))
    }

    /// Until when the key is reserved, although nobody holds it for that (C14).
    pub(in crate::engine) fn reserved_until(&self) -> Option<Moment> {
        self.reserved.iter().map(|reservation| reservation.until).max()
    }

    /// The tokens of the holds that have left it reserved (C14).
    pub(in crate::engine) fn reserved_by(&self) -> Vec<Token> {
        self.reserved.iter().map(|reservation| reservation.token).collect()
    }

    /// The mode of one who uses the key; all others have agreed with that one on whether it is a lock
    /// or a set of permits (C16). `None`: the key is unused.
    fn used_as(&self) -> Option<Mode> {
        let held = self.holds.first().map(|hold| hold.mode);
        let reserved = || self.reserved.first().map(|reservation| reservation.mode);
        let wanted = || self.queue.first().map(|(_, waiter)| waiter.ask.mode);
        held.or_else(reserved).or_else(wanted)
    }

    /// Whether the key can be used in this mode, beside those who use it (C16).
    fn agrees_with(&self, mode: Mode) -> bool {
        self.used_as().is_none_or(|used| used.is_permit() == mode.is_permit())
    }

    /// Whether the fast path can take over (I3 of the slot), and the record to write for it first.
    /// `None`: not yet.
    #[expect(clippy::option_option, reason = "no record to write is not the same as no thaw")]
    pub(in crate::engine) fn thaws(&self) -> Option<Option<(Swift, Stamp)>> {
        let quiet = self.queue.is_empty()
            && self.settled.is_empty()
            && self.lost.is_empty()
            && self.reserved.is_empty();
        match self.holds.as_slice() {
            _ if !quiet => None,
            [] => Some(None),
            [only] => only.as_plain(self.token),
            _ => None,
        }
    }

    /// When something happens by itself: a reservation or a bounded hold ends.
    pub(in crate::engine) fn next_event(&self) -> Option<Moment> {
        let ends = self.holds.iter().filter_map(|hold| hold.ends_at);
        ends.chain(self.reserved.iter().map(|reservation| reservation.until)).min()
    }

    pub(in crate::engine) fn alarm_mut(&mut self) -> &mut Option<Alarm> {
        &mut self.alarm
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
        let next = match &self.source {
            None => Token::new(self.token.get() + 1),
            Some(source) => source.next(self.token),
        };
        debug_assert!(next > self.token && next.get() < TURNS, "C7: tokens only grow");
        self.token = self.token.max(next);
        self.token
    }

    fn next_turn(&mut self) -> Token {
        self.next_ticket += 1;
        Token::new(TURNS + self.next_ticket)
    }
}

/// A mode in units.
pub(in crate::engine) trait Units {
    fn units(self) -> u64;
    /// How many units there are for it.
    fn capacity(self) -> u64;
    fn is_permit(self) -> bool;
    /// Exclusive above the others.
    fn outranks(self, other: Mode) -> bool;
}

impl Units for Mode {
    fn units(self) -> u64 {
        match self {
            Mode::Exclusive => LOCK_UNITS,
            Mode::Shared | Mode::Permit { .. } => 1,
        }
    }

    fn capacity(self) -> u64 {
        match self {
            Mode::Exclusive | Mode::Shared => LOCK_UNITS,
            Mode::Permit { of } => of.into(),
        }
    }

    fn is_permit(self) -> bool {
        matches!(self, Mode::Permit { .. })
    }

    fn outranks(self, other: Mode) -> bool {
        matches!((self, other), (Mode::Exclusive, Mode::Shared))
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
            .field("settled", &self.settled.len())
            .field("lost", &self.lost.len())
            .field("reserved", &self.reserved.len())
            .finish()
    }
}

impl State {
    /// Everything that `effects` may have to tell once the mutex is let go, in one place: bounds
    /// that have been reached are ended first.
    pub(in crate::engine) fn expire(&mut self, now: Moment, effects: &mut Effects) {
        let before = self.reserved.len();
        self.reserved.retain(|reservation| reservation.until > now);
        let mut changed = self.reserved.len() != before;
        while let Some(index) = self.holds.iter().position(|hold| hold.ended_by(now)) {
            self.revoke(index, crate::LostCause::HeldTooLong, now, effects);
            changed = true;
        }
        if changed {
            self.settle(now, effects);
        }
    }
}
