use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use super::ask::KeyRequest;
use super::hold_record::HoldRecord;
use super::{PROVISIONAL, Units, Waiter, small};
use crate::clock::{Moment, Stamp};
use crate::engine::ports::UpstreamGrant;
use crate::identity::SmallOwner;
use crate::request::{Caller, FastHolder};
use crate::{CallSite, HolderInfo, KeySet, Mode, OwnerId, ProcessInfo, Token};

/// What the record of a slot says of its present holder, while the hold is plain.
pub(in crate::engine) struct SlotRecord {
    pub(in crate::engine) owner: SmallOwner,
    pub(in crate::engine) site: Option<CallSite>,
    pub(in crate::engine) since: Stamp,
}

/// One hold of the key: a nest of one or more guards.
pub(in crate::engine) struct HoldEntry {
    /// The token of the hold, and of its outermost level.
    pub(in crate::engine) token: Token,
    /// H1: the strongest of `levels`; with an upstream, what that has granted.
    pub(in crate::engine) mode: Mode,
    /// H2: never empty; the innermost last. One for each guard.
    pub(in crate::engine) levels: SmallVec<[Level; 1]>,
    /// From when on it ages; `None` while it is provisional: part of an unfinished set of keys,
    /// or not yet granted by the upstream.
    pub(in crate::engine) since: Option<Moment>,
    /// How much later than `since` it may have been: counted in favour of the holder (C6).
    slack: Duration,
    /// Nothing is stolen before this, and the key stays reserved until then (C14).
    pub(in crate::engine) reserved_until: Option<Moment>,
    /// Whether it is reserved only if it was done, and whether it was (C14).
    pub(super) if_done: bool,
    pub(super) is_done: bool,
    /// When the arbiter ends it (C14).
    pub(in crate::engine) ends_at: Option<Moment>,
    /// Whom it was stolen from.
    pub(in crate::engine) stolen_from: Option<Box<[HolderInfo]>>,
    /// What it asked for, while it is provisional.
    pub(super) steal_after: Option<Duration>,
    /// Since when it waits, while it is provisional for an upstream.
    pub(super) provisional_since: Option<Moment>,
    pub(in crate::engine) upstream_grant: Option<UpstreamGrant>,
    /// Who wants to know when it is lost.
    pub(in crate::engine) watchers: Vec<Waker>,
    /// H3: set on a hold of the fast path: the slot's record is its own.
    adopted: Adopted,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Adopted {
    No,
    Recorded,
    /// The holder has not finished writing its record.
    Unrecorded,
}

/// One guard of a nest.
pub(in crate::engine) struct Level {
    /// Unique within the hold; the outermost is 0.
    pub(in crate::engine) id: u32,
    pub(in crate::engine) token: Token,
    pub(in crate::engine) mode: Mode,
    pub(in crate::engine) owner: Option<OwnerId>,
    /// What has to go on for it to be released (C10).
    pub(in crate::engine) runs_as: Option<OwnerId>,
    pub(in crate::engine) site: Option<CallSite>,
    pub(in crate::engine) party: Option<Arc<ProcessInfo>>,
    pub(in crate::engine) label: Option<Arc<str>>,
    /// The keys of the grant, if there are several: they are lost together (C11).
    pub(super) set: Option<Arc<KeySet>>,
    /// Who was granted it after waiting, and may still have to take it.
    pub(super) pending: Option<Arc<Waiter>>,
    /// Whether its guard has marked what it did as done.
    is_done: bool,
}

impl Level {
    fn of(caller: &Caller, id: u32, token: Token, mode: Mode) -> Self {
        let (owner, runs_as) = (caller.owner, caller.runs_as());
        let (site, party, label) = (caller.site, caller.party.clone(), caller.label.clone());
        Self {
            id,
            token,
            mode,
            owner,
            runs_as,
            site,
            party,
            label,
            set: None,
            pending: None,
            is_done: false,
        }
    }

    /// Of the fast path, before its record has been read.
    const fn adopted(token: Token) -> Self {
        let (owner, runs_as, site, party, label) = (None, None, None, None, None);
        let (set, pending) = (None, None);
        let mode = Mode::Exclusive;
        Self {
            id: 0,
            token,
            mode,
            owner,
            runs_as,
            site,
            party,
            label,
            set,
            pending,
            is_done: false,
        }
    }

    fn restored(record: &HoldRecord, id: u32, set: Option<Arc<KeySet>>) -> Self {
        let &HoldRecord { token, mode, owner, runs_as, site, .. } = record;
        let label = record.label.clone();
        Self {
            id,
            token,
            mode,
            owner,
            runs_as,
            site,
            party: None,
            label,
            set,
            pending: None,
            is_done: false,
        }
    }

    /// Takes back a grant that was not taken: there is no guard then.
    pub(super) fn revoke(&self) -> bool {
        self.pending.as_ref().is_some_and(|waiter| waiter.revoke())
    }
}

/// What remains of a hold that ended before its `hold_at_least` (C14).
#[derive(Clone, Copy, Debug)]
pub(super) struct Reservation {
    pub(super) until: Moment,
    pub(super) mode: Mode,
    pub(super) token: Token,
}

impl HoldEntry {
    /// A grant of what was asked.
    pub(super) fn granted(ask: &KeyRequest, token: Token, now: Moment) -> Self {
        let mut hold = Self {
            token,
            mode: ask.mode,
            levels: smallvec![Level::of(&ask.caller, 0, token, ask.mode)],
            since: None,
            slack: Duration::ZERO,
            reserved_until: None,
            if_done: ask.if_done,
            is_done: false,
            ends_at: None,
            stolen_from: None,
            steal_after: ask.steal_after,
            provisional_since: ask.provisional_since,
            upstream_grant: None,
            watchers: Vec::new(),
            adopted: Adopted::No,
        };
        if !ask.provisional {
            hold.begin(ask.at_least, ask.at_most, now);
        }
        hold
    }

    /// The hold of the fast path.
    pub(super) fn adopted(token: Token, record: Option<SlotRecord>, now: Moment) -> Self {
        let mode = Mode::Exclusive;
        let mut hold = Self {
            token,
            mode,
            levels: smallvec![Level::adopted(token)],
            since: Some(now),
            slack: Duration::ZERO,
            reserved_until: None,
            if_done: false,
            is_done: false,
            ends_at: None,
            stolen_from: None,
            steal_after: None,
            provisional_since: None,
            upstream_grant: None,
            watchers: Vec::new(),
            adopted: Adopted::Unrecorded,
        };
        if let Some(record) = record {
            hold.since = Some(record.since.moment());
            hold.slack = record.since.slack(now);
            hold.record(record);
        }
        hold
    }

    /// One that was granted before, as its only record says.
    pub(super) fn restored(record: &HoldRecord, set: Option<Arc<KeySet>>) -> Self {
        let &HoldRecord { token, outer, mode, .. } = record;
        // One that has outlived the guard around it is not what the fast path knows, if its token
        // is another than the hold's.
        let id = u32::from(token != outer);
        Self {
            mode,
            levels: smallvec![Level::restored(record, id, set)],
            since: record.since,
            reserved_until: record.reserved_until,
            if_done: record.if_done,
            is_done: record.is_done,
            ends_at: record.ends_at,
            adopted: Adopted::No,
            ..Self::adopted(outer, None, Moment::from_nanos(0))
        }
    }

    /// What is to be known of one of its guards to restore it.
    pub(in crate::engine) fn to_record(
        &self,
        key: &str,
        level: u32,
        token: Token,
    ) -> Option<HoldRecord> {
        let index = self.position(level, token)?;
        let Level { mode, owner, runs_as, site, ref label, .. } = self.levels[index];
        Some(HoldRecord {
            key: key.to_owned(),
            token,
            outer: self.token,
            nested: index > 0,
            mode,
            owner,
            runs_as,
            site,
            label: label.clone(),
            since: self.since.map(|since| since.after(self.slack)),
            reserved_until: self.reserved_until,
            if_done: self.if_done,
            is_done: self.is_done || self.levels[0].is_done,
            ends_at: self.ends_at,
        })
    }

    /// Whether it is more than provisional, waiting for the upstream.
    pub(in crate::engine) fn is_granted(&self) -> bool {
        self.token.get() < PROVISIONAL
    }

    pub(super) fn is_unrecorded(&self) -> bool {
        self.adopted == Adopted::Unrecorded
    }

    pub(super) fn record(&mut self, record: SlotRecord) {
        let owner = record.owner.full();
        (self.levels[0].owner, self.levels[0].runs_as) = (owner, owner);
        self.levels[0].site = record.site;
        self.adopted = Adopted::Recorded;
    }

    /// The grant is complete: age and bounds count from now.
    pub(in crate::engine) fn begin(
        &mut self,
        at_least: Option<Duration>,
        at_most: Option<Duration>,
        now: Moment,
    ) {
        self.since = Some(now);
        self.slack = Duration::ZERO;
        self.reserved_until = at_least.map(|least| now.after(least));
        self.ends_at = at_most.map(|most| now.after(most));
    }

    /// A provisional hold becomes a grant: its guard is known by this token from now on.
    pub(in crate::engine) fn rename(&mut self, provisional: Token, level: u32, token: Token) {
        if let Some(index) = self.position(level, provisional) {
            self.levels[index].token = token;
        }
        if level == 0 {
            self.token = token;
        }
    }

    /// Its guard holds all of these keys (C11).
    pub(in crate::engine) fn join(&mut self, level: u32, token: Token, set: Arc<KeySet>) {
        if let Some(index) = self.position(level, token) {
            self.levels[index].set = Some(set);
        }
    }

    /// The holder is alive and well: age counts from now (C6).
    pub(in crate::engine) fn refresh(&mut self, now: Moment) {
        if self.since.is_some() {
            self.since = Some(now);
            self.slack = Duration::ZERO;
            if self.adopted == Adopted::Recorded {
                self.adopted = Adopted::No;
            }
        }
    }

    /// The guard belongs to this one from now on, or to nobody in particular, if it belonged to a
    /// thread; and no thread has to go on for it to be released.
    pub(in crate::engine) fn detach_owner(
        &mut self,
        level: u32,
        token: Token,
        to: Option<OwnerId>,
    ) {
        let Some(index) = self.position(level, token) else { return };
        let guard = &mut self.levels[index];
        if guard.owner.is_some_and(OwnerId::is_thread) {
            guard.owner = to;
            self.adopted = Adopted::No;
        }
        if guard.runs_as.is_some_and(OwnerId::is_thread) {
            guard.runs_as = guard.owner.and_then(OwnerId::runs);
        }
    }

    /// Who was granted its outermost level, and has not taken it.
    pub(super) fn pending(&self) -> Option<&Arc<Waiter>> {
        self.levels[0].pending.as_ref().filter(|waiter| !waiter.has_taken())
    }

    pub(in crate::engine) fn innermost(&self) -> &Level {
        self.levels.last().expect("H2: a hold has a level")
    }

    /// The outermost guard that is left, by which the hold is known to others.
    pub(in crate::engine) fn outermost(&self) -> &Level {
        self.levels.first().expect("H2: a hold has a level")
    }

    /// Its owner.
    pub(in crate::engine) fn owner(&self) -> Option<OwnerId> {
        self.outermost().owner
    }

    /// What has to go on for its guards to be released (C10).
    pub(in crate::engine) fn runs_as(&self) -> impl Iterator<Item = OwnerId> {
        let named = |level: &Level| level.owner.filter(|_| level.owner != level.runs_as);
        self.levels.iter().flat_map(move |level| level.runs_as.into_iter().chain(named(level)))
    }

    /// Whether one of its guards is the caller's own (C9).
    pub(super) fn is_own(&self, caller: &Caller) -> bool {
        self.levels.iter().any(|level| caller.counts_as(level.owner))
    }

    /// Whether the caller may nest in it: the innermost guard is its own (C9), and it is not
    /// provisional.
    pub(in crate::engine) fn lets_in(&self, caller: &Caller) -> bool {
        self.since.is_some() && caller.counts_as(self.innermost().owner)
    }

    /// Adds a guard to the nest.
    pub(super) fn nest(&mut self, mode: Mode, caller: &Caller, token: Token) -> u32 {
        self.push(|id| Level::of(caller, id, token, mode))
    }

    /// Puts a guard back in the nest.
    pub(super) fn nest_restored(&mut self, record: &HoldRecord, set: Option<Arc<KeySet>>) -> u32 {
        self.push(|id| Level::restored(record, id, set))
    }

    fn push(&mut self, level: impl FnOnce(u32) -> Level) -> u32 {
        let id = self.levels.iter().map(|level| level.id).max().unwrap_or(0) + 1;
        self.levels.push(level(id));
        self.restore_mode();
        id
    }

    /// The guard shares the key from now on (C9).
    pub(in crate::engine) fn weaken(&mut self, level: u32, token: Token) {
        if let Some(index) = self.position(level, token) {
            self.levels[index].mode = Mode::Shared;
            self.restore_mode();
        }
    }

    /// H1, after a change of the levels.
    pub(super) fn restore_mode(&mut self) {
        if self.upstream_grant.is_some() {
            // What the upstream has granted stays what it is.
            return;
        }
        let modes = self.levels.iter().map(|level| level.mode);
        let strongest = modes.reduce(|a, b| if b.outranks(a) { b } else { a });
        self.mode = strongest.unwrap_or(self.mode);
    }

    pub(in crate::engine) fn mark_done(&mut self, level: u32, token: Token) {
        if let Some(index) = self.position(level, token) {
            self.levels[index].is_done = true;
        }
    }

    /// A guard is given back. Its mark counts if it is the outermost of those left (C14).
    pub(super) fn remove_level(&mut self, index: usize) {
        self.is_done |= index == 0 && self.levels[0].is_done;
        self.levels.remove(index);
    }

    pub(super) fn position(&self, level: u32, token: Token) -> Option<usize> {
        self.levels.iter().position(|found| found.id == level && found.token == token)
    }

    pub(super) fn ended_by(&self, now: Moment) -> bool {
        self.ends_at.is_some_and(|end| end <= now)
    }

    /// When a request that steals after `age` may take it (C6); `None`: never, as things are.
    pub(super) fn due(&self, age: Duration) -> Option<Moment> {
        let due = self.since?.after(self.slack).after(age);
        Some(self.reserved_until.map_or(due, |reserved| due.max(reserved)))
    }

    /// Whether it leaves its key reserved, if it was to be held for longer: as one that was
    /// `released`, or lost (C14).
    pub(super) fn reserves(&self, released: bool) -> bool {
        !self.if_done || released && self.is_done
    }

    /// The reservation that outlives it (C14). That of an upstream's grant is the upstream's to
    /// keep: one kept here as well would outlive an eviction by another client.
    pub(super) fn reservation(&self, now: Moment, released: bool) -> Option<Reservation> {
        if self.upstream_grant.is_some() || !self.reserves(released) {
            return None;
        }
        let until = self.reserved_until.filter(|until| *until > now)?;
        Some(Reservation { until, mode: self.mode, token: self.token })
    }

    /// The hold as the fast path knows it, if that is all it is, with what the record has to say
    /// where it does not yet.
    #[expect(clippy::option_option, reason = "no record to write is not the same as no thaw")]
    pub(super) fn as_plain(&self, latest: Token) -> Option<Option<(FastHolder, Stamp)>> {
        let plain = self.mode == Mode::Exclusive
            && matches!(
                self.levels.as_slice(),
                [only] if only.id == 0
                    && only.token == latest
                    && only.runs_as == only.owner
                    && only.set.is_none()
                    && only.party.is_none()
                    && only.label.is_none()
            )
            && self.reserved_until.is_none()
            && self.ends_at.is_none()
            && self.stolen_from.is_none()
            && self.upstream_grant.is_none()
            && self.watchers.is_empty();
        if !plain {
            return None;
        }
        if self.adopted != Adopted::No {
            return Some(None);
        }
        let (owner, site, since) = (small(self.owner())?, self.outermost().site?, self.since?);
        let exact = self.slack == Duration::ZERO;
        let stamp = if exact { Stamp::exact(since) } else { Stamp::coarse(since) };
        Some(Some((FastHolder { owner, site }, stamp)))
    }
}
