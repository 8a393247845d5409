use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::clock::alarm;
use super::note;
use super::renewal::Renewal;
use crate::sync::plain::Mutex;
use crate::{
    AcquisitionId, Alarm, Clock, HolderInfo, LeaseClaim, LeaseEnd, LeaseEnding, LeaseEntry,
    LeaseRenewal, LostCause, Mode, Moment, Token, UpstreamEnd, Wake,
};

/// The holds that the store has granted this process, until they are released here.
///
/// Whether one is lost is worked out from the clock by anyone who asks; one alarm sees to
/// renewals and reports losses. Neither needs the renewals to get anywhere (C8).
pub(super) struct Holds {
    table: Mutex<HoldTable>,
    clock: Arc<dyn Clock>,
    /// To be woken when something is [due](Self::due).
    waker: Waker,
}

#[derive(Default)]
struct HoldTable {
    holds: HashMap<u64, LeasedHold>,
    by_key: HashMap<String, Vec<u64>>,
    next: u64,
    /// Keys that the store keeps for a request of this client, which has not claimed yet; with the
    /// end that asked for that, and once that was answered, when the store has kept them for as
    /// long as it does.
    kept: HashMap<String, (LeaseEnding, Option<Moment>)>,
    /// For what comes next: a renewal, the end of a validity. It may go off too early, and never
    /// too late, so that few grants and no release have to touch it.
    alarm: Option<Alarm>,
}

/// One hold of the store's.
pub(super) struct LeasedHold {
    pub(super) id: AcquisitionId,
    pub(super) token: Token,
    pub(super) lease: Duration,
    /// Those that are held, in ascending order.
    keys: Vec<String>,
    /// Whether it was granted with others, whichever of them are left.
    is_set: bool,
    mode: Mode,
    steals: bool,
    reserves: bool,
    /// Whom it was stolen from.
    pub(super) stolen_from: Vec<LeaseEntry>,
    renewal: Renewal,
    /// Keys of a set that have ended before the others, to be ended in one step with them if they
    /// follow at once; and for how long a request has waited here for each, if one does.
    ended: Vec<(String, Option<Duration>)>,
    end_at: Option<Moment>,
    /// When to tell the engine, once it is lost; `None` when that has been done.
    report_at: Option<Moment>,
}

/// A hold that is lost, by the name that the engine knows it by.
pub(super) struct LostLease {
    pub(super) id: u64,
    pub(super) key: String,
    pub(super) token: Token,
    pub(super) cause: LostCause,
}

/// What there is to do.
#[derive(Default)]
pub(super) struct DueWork {
    pub(super) lost: Vec<LostLease>,
    pub(super) renewals: Vec<(u64, LeaseRenewal)>,
    /// For how long to wait for their answer: a hung step must leave time for others.
    pub(super) patience: Duration,
    pub(super) endings: Vec<(LeaseEnding, Duration)>,
    /// Confirmed ends whose keys the store has kept for a request that did not claim: to be sent
    /// once more.
    pub(super) kept: Vec<LeaseEnding>,
}

/// What a release comes to.
pub(super) enum Released {
    /// It had been released before.
    Unknown,
    /// Other keys of the set are held still.
    Partly,
    /// The store is to be told of its end. How it had been lost before, if it had.
    Wholly {
        endings: Vec<LeaseEnding>,
        token: Token,
        lease: Duration,
        lost: Option<LostCause>,
        /// Whether the store may have some of it although it is lost: what another has taken was
        /// one of several keys, and perhaps one that had ended before.
        is_set: bool,
    },
}

/// For how long a store keeps a key for a client whose request is about to claim, and a little
/// more.
const KEPT: Duration = Duration::from_millis(255);

/// How long the end of one key of a set waits for those of the others.
const TOGETHER: Duration = Duration::from_millis(1);

impl LeasedHold {
    /// Returns the hold that `claim` was granted, which has begun at `since` at the earliest, and
    /// whose lease was extended at `extended` at the earliest.
    pub(super) fn new(claim: &LeaseClaim, token: Token, since: Moment, extended: Moment) -> Self {
        let over_at = claim.hold_at_most.map(|most| since.after(most));
        Self {
            id: claim.id,
            token,
            lease: claim.lease,
            keys: claim.keys.clone(),
            is_set: claim.keys.len() > 1,
            mode: claim.mode,
            steals: claim.steal_after.is_some(),
            reserves: claim.hold_at_least.is_some(),
            stolen_from: Vec::new(),
            renewal: Renewal::granted(claim.lease, extended).bounded(over_at),
            ended: Vec::new(),
            end_at: None,
            report_at: Some(since),
        }
    }

    fn renewal_step(&self, refresh: bool) -> LeaseRenewal {
        let mut step = LeaseRenewal::new(self.keys.clone(), self.id, self.lease);
        step.refresh = refresh;
        step
    }

    /// The ends of those keys of it that have ended here. Keys that a request waits for here end
    /// each by itself, so that the store keeps no other for it; the rest end in one step.
    fn endings(&mut self) -> Vec<LeaseEnding> {
        self.end_at = None;
        let how = LeaseEnd::Release { reserve: self.reserves };
        let (wanted, rest): (Vec<_>, Vec<_>) =
            self.ended.drain(..).partition(|(_, next)| next.is_some());
        let rest = Vec::from_iter(rest.into_iter().map(|(key, _)| key));
        let rest = (!rest.is_empty()).then(|| LeaseEnding::new(rest, self.id, how));
        let id = self.id;
        let wanted = wanted.into_iter().map(|(key, next)| {
            let mut ending = LeaseEnding::new(vec![key], id, how);
            ending.next = next;
            ending
        });
        rest.into_iter().chain(wanted).collect()
    }

    /// How it is lost, if the engine has yet to hear of that.
    fn report(&mut self, id: u64, now: Moment) -> Option<LostLease> {
        let cause = self.renewal.check(now)?;
        self.report_at.take_if(|at| *at <= now)?;
        let key = self.keys.first()?.clone();
        Some(LostLease { id, key, token: self.token, cause })
    }

    /// When there is something to do.
    fn next_event(&self) -> Option<Moment> {
        let lost = self.report_at.map(|at| at.max(self.renewal.lost_at()));
        [self.renewal.renew_at(), lost, self.end_at].into_iter().flatten().min()
    }
}

impl Holds {
    pub(super) fn new(clock: Arc<dyn Clock>, waker: Waker) -> Self {
        Self { table: Mutex::default(), clock, waker }
    }

    pub(super) fn len(&self) -> usize {
        self.table.lock().holds.len()
    }

    /// Takes in a hold that was just granted. Returns what it is called, and the holds that the
    /// store must have ended for it.
    ///
    /// A thief and its victim, granted one after the other: their answers may come in any order,
    /// and there is no need to wait for the store to say that the earlier one is gone.
    pub(super) fn insert(&self, hold: LeasedHold) -> (u64, Vec<LostLease>) {
        let now = self.clock.now();
        let mut table = self.table.lock();
        self.set_alarm(&mut table, hold.next_event());
        let id = table.next;
        table.next += 1;
        for key in &hold.keys {
            table.by_key.entry(key.clone()).or_default().push(id);
        }
        let mut rivals: Vec<u64> =
            hold.keys.iter().flat_map(|key| table.by_key[key].iter().copied()).collect();
        rivals.sort_unstable();
        rivals.dedup();
        let (token, mode, steals) = (hold.token, hold.mode, hold.steals);
        table.holds.insert(id, hold);
        let mut lost = Vec::new();
        for rival in rivals.into_iter().filter(|rival| *rival != id) {
            let other = &table.holds[&rival];
            if mode != Mode::Exclusive && other.mode != Mode::Exclusive {
                continue;
            }
            let later_steals = if other.token < token { steals } else { other.steals };
            let earlier_id = if other.token < token { rival } else { id };
            let cause = if later_steals { LostCause::Stolen } else { LostCause::Forgotten };
            let earlier = table.holds.get_mut(&earlier_id).expect("it is in the table");
            earlier.renewal.gone(cause, now);
            lost.extend(earlier.report(earlier_id, now));
        }
        (id, lost)
    }

    /// How the hold was lost, if it is lost now.
    pub(super) fn poll_lost(&self, id: u64) -> Poll<LostCause> {
        let now = self.clock.now();
        match self.table.lock().holds.get_mut(&id) {
            Some(hold) => hold.renewal.check(now).map_or(Poll::Pending, Poll::Ready),
            None => Poll::Ready(LostCause::Forgotten),
        }
    }

    /// The lease of the hold, and for how long it is valid from now on if no renewal gets through;
    /// `None` once it is lost.
    pub(super) fn validity(&self, id: u64) -> Option<(Duration, Duration)> {
        let now = self.clock.now();
        let mut table = self.table.lock();
        let hold = table.holds.get_mut(&id)?;
        let left = hold.renewal.left(now)?;
        Some((hold.lease, left))
    }

    /// Returns whom the hold was stolen from.
    pub(super) fn stolen_from(&self, id: u64, key: &str) -> Vec<HolderInfo> {
        let table = self.table.lock();
        let Some(hold) = table.holds.get(&id) else { return Vec::new() };
        hold.stolen_from.iter().filter(|entry| entry.key == key).map(note::holder).collect()
    }

    /// The step that renews this hold and its age.
    pub(super) fn refresh(&self, id: u64) -> Option<LeaseRenewal> {
        self.table.lock().holds.get(&id).map(|hold| hold.renewal_step(true))
    }

    /// Returns `true` if these are the keys that the hold has still.
    pub(super) fn has_all(&self, id: u64, keys: &[String]) -> bool {
        self.table.lock().holds.get(&id).is_some_and(|hold| hold.keys == keys)
    }

    /// Notes what came of a renewal, and returns the hold if it is lost.
    pub(super) fn note(
        &self,
        id: u64,
        note: impl FnOnce(&mut Renewal, Moment),
    ) -> Option<LostLease> {
        let now = self.clock.now();
        let mut table = self.table.lock();
        let hold = table.holds.get_mut(&id)?;
        note(&mut hold.renewal, now);
        let lost = hold.report(id, now);
        let next = hold.next_event();
        self.set_alarm(&mut table, next);
        lost
    }

    /// The engine did not know of it: it is still on its way to making a hold of this grant.
    pub(super) fn report_again(&self, id: u64) {
        let at = self.clock.now().after(Duration::from_millis(10));
        let mut table = self.table.lock();
        let Some(hold) = table.holds.get_mut(&id) else { return };
        hold.report_at = Some(at);
        self.set_alarm(&mut table, Some(at));
    }

    /// Has those renewed without delay that the hint concerns: they may have been robbed.
    pub(super) fn hasten(&self, wake: &Wake) {
        let now = self.clock.now();
        let mut table = self.table.lock();
        let mut any = false;
        for hold in table.holds.values_mut().filter(|hold| wake.concerns(&hold.keys)) {
            hold.renewal.hasten(now);
            any = true;
        }
        self.set_alarm(&mut table, any.then_some(now));
    }

    /// One key of a hold is released here.
    pub(super) fn release(&self, id: u64, key: &str, how: UpstreamEnd) -> Released {
        let now = self.clock.now();
        let mut guard = self.table.lock();
        let table = &mut *guard;
        let Some(hold) = table.holds.get_mut(&id) else { return Released::Unknown };
        let Some(index) = hold.keys.iter().position(|held| held == key) else {
            return Released::Unknown;
        };
        let key_of_it = hold.keys.remove(index);
        hold.ended.push((key_of_it, how.next));
        hold.reserves &= how.reserves;
        if let Some(ids) = table.by_key.get_mut(key) {
            ids.retain(|held| *held != id);
            if ids.is_empty() {
                table.by_key.remove(key);
            }
        }
        if !hold.keys.is_empty() {
            hold.end_at = Some(now.after(TOGETHER));
            let next = hold.end_at;
            self.set_alarm(table, next);
            return Released::Partly;
        }
        let lost = hold.renewal.check(now);
        let mut hold = table.holds.remove(&id).expect("it was found above");
        let endings = hold.endings();
        let LeasedHold { token, lease, is_set, .. } = hold;
        Released::Wholly { endings, token, lease, lost, is_set }
    }

    /// The store is about to be asked to keep the keys of `ending`.
    pub(super) fn keep(&self, ending: &LeaseEnding) {
        let mut table = self.table.lock();
        for key in &ending.keys {
            let mut again = LeaseEnding::new(vec![key.clone()], ending.id, ending.how);
            again.next = None;
            table.kept.insert(key.clone(), (again, None));
        }
    }

    /// It has answered that it does, from now on at the latest; or it does not.
    pub(super) fn kept(&self, ending: &LeaseEnding, keeps: bool) {
        let until = self.clock.now().after(KEPT);
        let mut table = self.table.lock();
        for key in &ending.keys {
            let of = table.kept.get_mut(key).filter(|(again, _)| again.id == ending.id);
            match of {
                Some((_, at)) if keeps => *at = Some(until),
                Some(_) => drop(table.kept.remove(key)),
                None => continue,
            }
            self.set_alarm(&mut table, keeps.then_some(until));
        }
    }

    /// A request of this client claims these keys: they need not be kept for one any more.
    pub(super) fn claimed(&self, keys: &[String]) {
        let mut table = self.table.lock();
        if !table.kept.is_empty() {
            keys.iter().for_each(|key| drop(table.kept.remove(key)));
        }
    }

    /// Takes what is due, and sets the alarm for what comes after that.
    pub(super) fn due(&self) -> DueWork {
        let now = self.clock.now();
        let mut due = DueWork { patience: Duration::MAX, ..DueWork::default() };
        let mut table = self.table.lock();
        let renews_by = |hold: &LeasedHold, at: Moment| {
            hold.renewal.renew_at().is_some_and(|renew_at| renew_at <= at)
        };
        let renews = table.holds.values().any(|hold| renews_by(hold, now));
        for (id, hold) in &mut table.holds {
            due.lost.extend(hold.report(*id, now));
            if hold.end_at.is_some_and(|at| at <= now) {
                let lease = hold.lease;
                due.endings.extend(hold.endings().into_iter().map(|ending| (ending, lease)));
            }
            // One step renews all whose time comes soon: from then on they stay together.
            if renews && renews_by(hold, now.after(hold.lease / 6)) {
                due.patience = due.patience.min(hold.renewal.begin(now));
                due.renewals.push((*id, hold.renewal_step(false)));
            }
        }
        // Whoever they were kept for has given up: the store is to call whoever is next at it.
        let is_over = |at: &Option<Moment>| at.is_some_and(|at| at <= now);
        let over = table.kept.extract_if(|_, (_, at)| is_over(at));
        due.kept.extend(over.map(|(_, (again, _))| again));
        table.alarm = None;
        let kept = table.kept.values().filter_map(|(_, at)| *at);
        let next = table.holds.values().filter_map(LeasedHold::next_event).chain(kept).min();
        self.set_alarm(&mut table, next);
        due
    }

    /// Sets the alarm, unless it goes off before that anyway.
    fn set_alarm(&self, table: &mut HoldTable, at: Option<Moment>) {
        if let Some(at) = at
            && table.alarm.as_ref().is_none_or(|set| set.at() > at)
        {
            table.alarm = Some(alarm(&*self.clock, at, self.waker.clone()));
        }
    }
}
