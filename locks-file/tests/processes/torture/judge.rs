//! Who may have been inside together, judged by what was written down and by nothing that the
//! locks say of themselves but their tokens.
//!
//! Two holds that conflict may overlap in three cases, in each of which the older one is a
//! *victim* that is lost from then on and has to find out, at the latest at its release:
//! - it was stolen: by the other one, which steals at no greater age, or by one that was killed, or
//!   gave up, when it had stolen it and before it could write that down, or before a server that
//!   stood still could hear of it; or by one that has come and gone before the victim, which stood
//!   still, wrote down that it is inside;
//! - its lock file was deleted between the victim's request and the other's entry;
//! - it is one of several keys, of which another may have been lost in one of these ways.
//!
//! Where locks are kept by leases these may run out, and then the older one has to find out when it
//! looks for the first time after that (C8).
//!
//! And a process that is about to be killed is no longer inside.

use std::collections::{HashMap, HashSet, VecDeque};

use super::log::{Entry, Event, HoldId, Record};
use super::plan::{AGES, Plan};

/// What must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// C1: two were inside that exclude each other.
    Overlap,
    /// C7: a token that is not greater than those before it.
    Token,
    /// C6: a hold was stolen before its time.
    Early,
    /// C8: a victim was told at its release that nothing had happened.
    Unheard,
    /// A hold was lost and nobody can have taken it.
    Spurious,
    /// C14: granted while it was reserved.
    Reserved,
}

/// What must not be and was, with what had gone before.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) wrong: Wrong,
    pub(crate) text: String,
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) grants: u64,
    pub(crate) lost: u64,
    pub(crate) stolen: u64,
    pub(crate) stolen_unseen: u64,
    pub(crate) deleted: u64,
    pub(crate) with_others: u64,
    pub(crate) expired: u64,
    /// Victims whose last look before they went did not tell them.
    pub(crate) told_late: u64,
}

/// Somebody inside, or on its way out.
#[derive(Clone, Copy, Debug)]
struct Inside {
    entry: Entry,
    at: u64,
    /// It had been granted at the earliest then.
    since: u64,
    /// Since when it has certainly been lost.
    lost_since: Option<u64>,
}

/// A request that steals, until it has entered.
#[derive(Clone, Copy, Debug)]
struct Trying {
    hold: HoldId,
    age: u64,
    /// When it was over, if it is.
    until: u64,
}

/// For how long a request that is over may explain a loss: longer than anybody stays.
const EXPLAINS: u64 = 10_000_000_000;

/// For how long a process may go on that is being killed.
const DYING: u64 = 50_000_000;

/// Until when a key is kept for nobody, and from whom.
#[derive(Clone, Copy, Debug)]
struct Reservation {
    until: u64,
    token: u64,
    shared: bool,
}

#[derive(Debug)]
pub(crate) struct Judge {
    plan: Plan,
    inside: HashMap<HoldId, Inside>,
    /// Those who have left and are to say what came of their release, with when they last looked.
    leaving: HashMap<HoldId, (Inside, u64)>,
    killed: HashSet<u32>,
    /// Requests that steal, and of which it is not known whether they have.
    trying: Vec<Trying>,
    /// Of those who have entered and steal: when, and what.
    thieves: VecDeque<(u64, Entry)>,
    /// From when until when each deletion may have happened.
    deletions: VecDeque<(u64, Option<u64>)>,
    tokens: HashSet<u64>,
    /// The greatest token that was about at a time.
    greatest: Vec<(u64, u64)>,
    greatest_exclusive: u64,
    /// Those who left lately: when they were seen to hold it still, with what token, shared or not.
    held_still: VecDeque<(u64, u64, bool)>,
    reserved: Vec<Reservation>,
    recent: VecDeque<Record>,
    pub(crate) counts: Counts,
}

impl Judge {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            plan,
            inside: HashMap::new(),
            leaving: HashMap::new(),
            killed: HashSet::new(),
            trying: Vec::new(),
            thieves: VecDeque::new(),
            deletions: VecDeque::new(),
            tokens: HashSet::new(),
            greatest: Vec::new(),
            greatest_exclusive: 0,
            held_still: VecDeque::new(),
            reserved: Vec::new(),
            recent: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// The greatest token so far.
    pub(crate) fn greatest(&self) -> u64 {
        self.greatest.last().map_or(0, |(_, token)| *token)
    }

    pub(crate) fn hear(&mut self, record: Record) -> Result<(), Violation> {
        if self.recent.len() == 60 {
            self.recent.pop_front();
        }
        self.recent.push_back(record);
        let at = record.at;
        match record.event {
            Event::Tries { hold, steals } => {
                self.trying.retain(|trying| trying.until > at.saturating_sub(EXPLAINS));
                // Of a process that is being killed nobody knows how far it gets.
                let until = if self.killed.contains(&hold.life) { at + DYING } else { u64::MAX };
                self.trying.push(Trying { hold, age: steals, until });
            }
            Event::Withdrew { hold } => {
                self.end_trying(at + self.plan.deaf, |tried| tried == hold);
            }
            Event::Entered(entry) => self.enter(at, entry)?,
            Event::Left { hold, looked, lost } => self.leave(at, hold, looked, lost)?,
            Event::Released { hold, lost } => self.release(at, hold, lost)?,
            Event::Killing { life } => {
                self.killed.insert(life);
                self.end_trying(at + DYING, |hold| hold.life == life);
                self.inside.retain(|hold, _| hold.life != life);
                self.leaving.retain(|hold, _| hold.life != life);
            }
            Event::Deleting => self.deletions.push_back((at, None)),
            Event::Deleted => {
                if let Some(last) = self.deletions.back_mut() {
                    last.1 = Some(at);
                }
            }
        }
        Ok(())
    }

    fn enter(&mut self, at: u64, entry: Entry) -> Result<(), Violation> {
        self.counts.grants += 1;
        if entry.token != 0 {
            self.see_token(at, entry)?;
            self.see_reservation(at, entry)?;
        }
        if self.killed.contains(&entry.hold.life) {
            // It wrote this down with its last breath, and may have stolen it just before.
            return Ok(());
        }
        self.trying.retain(|trying| trying.hold != entry.hold);
        let mut new = Inside { entry, at, since: self.granted_after(&entry), lost_since: None };
        new.lost_since = self.stolen_by_then(&new);
        self.counts.stolen += u64::from(new.lost_since.is_some());
        if entry.steals.is_some() {
            self.thieves.retain(|(entered, _)| *entered > at.saturating_sub(EXPLAINS));
            self.thieves.push_back((at, entry));
        }
        let others = self.inside.values().filter(|other| !(other.entry.shared && entry.shared));
        for other in others.copied().collect::<Vec<_>>() {
            match self.victim(&other, &new)? {
                Some(victim) if victim == other.entry.hold => {
                    let other = self.inside.get_mut(&victim).expect("it is inside");
                    other.lost_since.get_or_insert(at);
                }
                Some(_) => new.lost_since = Some(at),
                None => {}
            }
        }
        self.inside.insert(entry.hold, new);
        Ok(())
    }

    /// When one that has entered before stole it: it had the greater token, and so came after the
    /// victim.
    fn stolen_by_then(&self, victim: &Inside) -> Option<u64> {
        let Entry { token, shared, .. } = victim.entry;
        let robs = |(at, thief): &&(u64, Entry)| {
            let old_enough = thief.steals.is_some_and(|age| *at >= victim.since + age);
            token != 0 && token < thief.token && !(shared && thief.shared) && old_enough
        };
        self.thieves.iter().find(robs).map(|(at, _)| *at)
    }

    /// A hold was granted after it was asked for, and after those that it excludes were seen to be
    /// held still.
    fn granted_after(&self, entry: &Entry) -> u64 {
        let before = self
            .held_still
            .iter()
            .filter(|(_, token, shared)| *token < entry.token && !(*shared && entry.shared));
        before.map(|(looked, ..)| *looked).fold(entry.asked, u64::max)
    }

    fn see_token(&mut self, at: u64, entry: Entry) -> Result<(), Violation> {
        let token = entry.token;
        let after = match self.greatest.partition_point(|(at, _)| *at < entry.asked) {
            0 => 0,
            before => self.greatest[before - 1].1,
        };
        let after = match (self.plan.is_strict(), entry.shared) {
            (true, false) => self.greatest(),
            (true, true) => after.max(self.greatest_exclusive),
            (false, _) => after,
        };
        if token <= after || !self.tokens.insert(token) {
            return Err(self.wrong(Wrong::Token, format!("{token} after {after}: {entry:?}")));
        }
        let last = self.greatest.last().copied().unwrap_or_default();
        self.greatest.push((at.max(last.0), token.max(last.1)));
        if !entry.shared {
            self.greatest_exclusive = self.greatest_exclusive.max(token);
        }
        Ok(())
    }

    fn see_reservation(&mut self, at: u64, entry: Entry) -> Result<(), Violation> {
        // Readers reserve it from writers only: whether they have gone makes no difference to them.
        self.reserved.retain(|reservation| reservation.until > at);
        let mut before = self.reserved.iter().filter(|before| before.token < entry.token);
        if let Some(before) = before.find(|before| !(before.shared && entry.shared)) {
            return Err(self.wrong(Wrong::Reserved, format!("{entry:?} within {before:?}")));
        }
        if entry.least > 0 {
            // It was granted after it was asked for, so this is not too late.
            let Entry { asked, token, shared, least, .. } = entry;
            self.reserved.push(Reservation { until: asked + least, token, shared });
        }
        Ok(())
    }

    /// Who of the two has lost it, if that can be; `None` where it may be either.
    fn victim(&mut self, other: &Inside, new: &Inside) -> Result<Option<HoldId>, Violation> {
        let known = other.entry.token != 0 && new.entry.token != 0;
        if !known && self.is_deleted(other.entry.asked.min(new.entry.asked)) {
            // Outsiders have no token that would say who was there first.
            self.counts.deleted += 1;
            return Ok(None);
        }
        for (victim, heir) in [(other, new), (new, other)] {
            if known && victim.entry.token > heir.entry.token {
                continue;
            }
            let victims = &victim.entry;
            if victim.lost_since.is_some() {
                return Ok(Some(victims.hold));
            }
            if self.is_deleted(victims.asked) {
                self.counts.deleted += 1;
                return Ok(Some(victims.hold));
            }
            // Of an outsider nobody knows when it came: what a thief has seen may have been the
            // hold before (F3).
            let age =
                if victims.token == 0 { u64::MAX } else { heir.at.saturating_sub(victim.since) };
            if self.plan.steals && heir.entry.steals.is_some_and(|steals| steals <= age) {
                self.counts.stolen += 1;
                return Ok(Some(victims.hold));
            }
            if self.plan.steals && self.is_stolen_unseen(victim) {
                self.counts.stolen_unseen += 1;
                return Ok(Some(victims.hold));
            }
            if victims.of_set && !self.plan.is_strict() {
                self.counts.with_others += 1;
                return Ok(Some(victims.hold));
            }
            if self.plan.leased && known {
                self.counts.expired += 1;
                return Ok(Some(victims.hold));
            }
            if self.plan.steals && heir.entry.steals.is_some() && known {
                let text = format!("{heir:?} stole from {victim:?}");
                return Err(self.wrong(Wrong::Early, text));
            }
        }
        Err(self.wrong(Wrong::Overlap, format!("{other:?} beside {new:?}")))
    }

    fn end_trying(&mut self, at: u64, whose: impl Fn(HoldId) -> bool) {
        for trying in self.trying.iter_mut().filter(|trying| whose(trying.hold)) {
            trying.until = trying.until.min(at);
        }
    }

    /// Whether one that has not entered may have stolen it.
    fn is_stolen_unseen(&self, victim: &Inside) -> bool {
        self.trying.iter().any(|thief| thief.until >= victim.since + thief.age)
    }

    /// Whether the file may have been deleted since then.
    fn is_deleted(&self, since: u64) -> bool {
        let mut deletions = self.deletions.iter();
        self.plan.deletes && deletions.any(|(_, until)| until.is_none_or(|until| until >= since))
    }

    fn leave(&mut self, at: u64, hold: HoldId, looked: u64, lost: bool) -> Result<(), Violation> {
        let Some(inside) = self.inside.remove(&hold) else { return Ok(()) };
        if lost {
            // It may have stood still before it looked.
            self.assert_may_be_lost(&inside, at)?;
        } else if inside.lost_since.is_some_and(|since| since < looked) {
            if self.plan.leased && !self.plan.steals {
                let text = format!("{inside:?} was found held at {looked}");
                return Err(self.wrong(Wrong::Unheard, text));
            }
            self.counts.told_late += 1;
        } else if inside.entry.token != 0 && inside.lost_since.is_none() {
            if self.held_still.len() == 16 {
                self.held_still.pop_front();
            }
            // The word of a theft may be under way for so long.
            let held_at = looked.saturating_sub(self.plan.deaf);
            self.held_still.push_back((held_at, inside.entry.token, inside.entry.shared));
        }
        self.leaving.insert(hold, (inside, looked));
        Ok(())
    }

    fn release(&mut self, at: u64, hold: HoldId, lost: bool) -> Result<(), Violation> {
        let Some((inside, looked)) = self.leaving.remove(&hold) else { return Ok(()) };
        if lost {
            self.counts.lost += 1;
            return self.assert_may_be_lost(&inside, at);
        }
        match inside.lost_since {
            Some(since) if since < looked => {
                Err(self.wrong(Wrong::Unheard, format!("{inside:?} was released")))
            }
            _ => Ok(()),
        }
    }

    fn assert_may_be_lost(&mut self, inside: &Inside, at: u64) -> Result<(), Violation> {
        let (plan, entry) = (self.plan, inside.entry);
        let old_enough =
            entry.token == 0 || at.saturating_sub(inside.since) >= AGES[0].as_nanos() as u64;
        let may = (plan.steals && old_enough)
            || plan.leased
            || self.is_deleted(entry.asked)
            // Of keys in one request one may be subject to more than the others are.
            || (entry.of_set && !plan.is_strict());
        if may {
            return Ok(());
        }
        Err(self.wrong(Wrong::Spurious, format!("{inside:?}")))
    }

    fn wrong(&self, wrong: Wrong, what: String) -> Violation {
        let recent = self.recent.iter().map(|record| format!("{record:?}")).collect::<Vec<_>>();
        let text = format!("`{}`: {what}, after\n{}", self.plan.key, recent.join("\n"));
        Violation { wrong, text }
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.grants += other.grants;
        self.lost += other.lost;
        self.stolen += other.stolen;
        self.stolen_unseen += other.stolen_unseen;
        self.deleted += other.deleted;
        self.with_others += other.with_others;
        self.expired += other.expired;
        self.told_late += other.told_late;
    }
}
