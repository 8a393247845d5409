//! An upstream as plain as can be, for the kit over an engine that stands in front of one: with
//! stealing, permits, bounds and several keys, for any number of engines.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use locks_core::{
    Alarm, Caller, Claim, ClaimSet, Clock, Completion, ErrorKind, HolderInfo, LockError, LockInfo,
    LostCause, ManualClock, Mode, Moment, Op, Options, Query, Token, Upstream, UpstreamEnd,
    UpstreamGrant, Wait, WeakEngine,
};

/// Clones are the same shelf.
#[derive(Clone)]
pub(crate) struct Shelf {
    state: Arc<Mutex<State>>,
    clock: ManualClock,
}

#[derive(Default)]
struct State {
    keys: BTreeMap<String, Vec<Grant>>,
    /// The greatest token of each key so far.
    tokens: BTreeMap<String, u64>,
    /// Grants that were taken away and have not been given back.
    lost: BTreeMap<u64, LostCause>,
    next_id: u64,
    engines: Vec<WeakEngine>,
    wakers: Vec<Waker>,
}

struct Grant {
    turn: UpstreamGrant,
    holder: HolderInfo,
    stolen_from: Vec<HolderInfo>,
    /// `None`: it is part_of_set of what is not complete.
    since: Option<Moment>,
    reserved_until: Option<Moment>,
    /// Whether nobody has it any more, and it is only reserved.
    is_over: bool,
}

/// What was taken away, for the engines to hear.
type Taken = Vec<(String, Token, LostCause)>;

impl Shelf {
    pub(crate) fn new(clock: ManualClock) -> Self {
        Self { state: Arc::default(), clock }
    }

    /// Tells this engine of grants that are taken away.
    pub(crate) fn tell(&self, engine: WeakEngine) {
        self.state().engines.push(engine);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Changes the state and wakes whoever may have waited for that.
    fn change<T>(&self, change: impl FnOnce(&mut State, Moment) -> T) -> T {
        let (changed, wakers) = {
            let mut state = self.state();
            let changed = change(&mut state, self.clock.now());
            (changed, std::mem::take(&mut state.wakers))
        };
        wakers.into_iter().for_each(Waker::wake);
        changed
    }

    fn tell_of(&self, taken: Taken) {
        let engines = self.state().engines.clone();
        for (key, token, cause) in taken {
            for engine in engines.iter().filter_map(WeakEngine::upgrade) {
                engine.lose(&key, token, cause);
            }
        }
    }
}

impl Grant {
    fn begin(&mut self, least: Option<Duration>, now: Moment) {
        self.since = Some(now);
        self.reserved_until = least.map(|least| now.after(least));
    }

    fn info(&self, now: Moment) -> HolderInfo {
        let mut holder = self.holder.clone();
        holder.token = Some(self.turn.token);
        holder.age = self.since.map(|since| now.since(since));
        holder
    }

    /// When it may be stolen by whoever steals after `age`.
    fn due(&self, age: Duration) -> Option<Moment> {
        let due = self.since.filter(|_| !self.is_over)?.after(age);
        Some(self.reserved_until.map_or(due, |until| due.max(until)))
    }

    fn is_reserved(&self, now: Moment) -> bool {
        self.reserved_until.is_some_and(|until| until > now)
    }
}

impl State {
    fn grant_mut(&mut self, key: &str, turn: UpstreamGrant) -> Option<&mut Grant> {
        let grants = self.keys.get_mut(key)?.iter_mut();
        grants.into_iter().find(|grant| grant.turn.id == turn.id)
    }

    fn lost(&self, key: &str, turn: UpstreamGrant) -> LockError {
        let cause = self.lost.get(&turn.id).copied().unwrap_or(LostCause::Forgotten);
        LockError::new(ErrorKind::Lost { cause }, key)
    }

    /// Drops what was reserved until now.
    fn expire(&mut self, now: Moment) {
        for grants in self.keys.values_mut() {
            grants.retain(|grant| !grant.is_over || grant.is_reserved(now));
        }
        self.keys.retain(|_, grants| !grants.is_empty());
    }

    /// The turns in the way of `mode`.
    fn in_the_way(&self, key: &str, mode: Mode) -> Result<Vec<&Grant>, LockError> {
        let grants = self.keys.get(key).map_or(&[][..], Vec::as_slice);
        let is_permit = |mode| matches!(mode, Mode::Permit { .. });
        if grants.iter().any(|grant| is_permit(grant.holder.mode) != is_permit(mode)) {
            return Err(LockError::new(ErrorKind::PermitsMismatch, key));
        }
        let conflicts = |grant: &&Grant| match mode {
            Mode::Permit { of, .. } => grants.len() >= of as usize,
            _ => mode == Mode::Exclusive || grant.holder.mode == Mode::Exclusive,
        };
        Ok(grants.iter().filter(conflicts).collect())
    }

    fn take(&mut self, key: &str, turn: UpstreamGrant, cause: LostCause) -> Taken {
        let grants = self.keys.get_mut(key).into_iter().flatten();
        let taken = grants.filter(|grant| grant.turn.id == turn.id && !grant.is_over);
        let taken = taken.map(|grant| (key.to_owned(), grant.turn.token, cause)).collect();
        self.keys.entry(key.to_owned()).or_default().retain(|grant| grant.turn.id != turn.id);
        self.lost.insert(turn.id, cause);
        taken
    }

    fn add(&mut self, claiming: &Claiming, now: Moment) -> UpstreamGrant {
        self.next_id += 1;
        let token = self.tokens.entry(claiming.key.clone()).or_default();
        *token += 1;
        let turn = UpstreamGrant::new(self.next_id, Token::new(*token));
        let mut holder = HolderInfo::new(claiming.options.mode);
        holder.owner = claiming.caller.owner;
        holder.who = claiming.caller.owner.map(|owner| owner.to_string());
        holder.site = claiming.caller.site;
        holder.label = claiming.caller.label.as_ref().map(|label| label.to_string());
        let stolen_from = Vec::new();
        let mut grant =
            Grant { turn, holder, stolen_from, since: None, reserved_until: None, is_over: false };
        if !claiming.part_of_set {
            grant.begin(claiming.options.hold_at_least, now);
        }
        self.keys.entry(claiming.key.clone()).or_default().push(grant);
        turn
    }
}

/// A claim on its way.
struct Claiming {
    shelf: Shelf,
    key: String,
    options: Options,
    caller: Caller,
    part_of_set: bool,
    begun: Moment,
    deadline: Option<Moment>,
    alarm: Option<Alarm>,
}

impl Claiming {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<UpstreamGrant, LockError>> {
        let shelf = self.shelf.clone();
        let mut taken = Taken::new();
        let outcome = {
            let mut state = shelf.state();
            self.step(&mut state, &mut taken, cx)
        };
        if !taken.is_empty() {
            shelf.tell_of(taken);
            // Whoever waited behind the victim.
            shelf.change(|_, _| ());
        }
        outcome
    }

    fn step(
        &mut self,
        state: &mut State,
        taken: &mut Taken,
        cx: &mut Context<'_>,
    ) -> Poll<Result<UpstreamGrant, LockError>> {
        let now = self.shelf.clock.now();
        state.expire(now);
        let in_the_way = state.in_the_way(&self.key, self.options.mode)?;
        let due = |grant: &&Grant| grant.due(self.options.steal_after?);
        let excess = match self.options.mode {
            Mode::Permit { of, .. } => (in_the_way.len() + 1).saturating_sub(of as usize),
            Mode::Exclusive | Mode::Shared => in_the_way.len(),
        };
        let victims = in_the_way.iter().filter_map(|grant| Some((due(grant)?, grant.turn)));
        let mut victims = victims.collect::<Vec<_>>();
        victims.sort_by_key(|(due, _)| *due);
        victims.truncate(if victims.len() < excess { 0 } else { excess });
        let due = victims.iter().map(|(due, _)| *due).max();
        let steals = due.is_some_and(|due| due <= now);
        if in_the_way.is_empty() || steals {
            let mut stolen_from = Vec::new();
            for (_, turn) in victims {
                stolen_from.extend(state.grant_mut(&self.key, turn).map(|grant| grant.info(now)));
                taken.extend(state.take(&self.key, turn, LostCause::Stolen));
            }
            let turn = state.add(self, now);
            if let Some(grant) = state.grant_mut(&self.key, turn) {
                grant.stolen_from = stolen_from;
            }
            return Poll::Ready(Ok(turn));
        }
        let late = self.deadline.is_some_and(|deadline| deadline <= now);
        if late || self.options.wait == Some(Wait::Try) {
            let kind = if late { ErrorKind::Timeout } else { ErrorKind::Contended };
            let holders = in_the_way.iter().filter(|grant| !grant.is_over);
            let holders = holders.map(|grant| grant.info(now)).collect();
            let error = LockError::new(kind, &*self.key).with_holders(holders);
            let reserved = in_the_way.iter().filter(|grant| grant.is_over);
            let until = reserved.filter_map(|grant| grant.reserved_until).max();
            let error = error.with_reserved_for(until.map(|until| until.since(now)));
            return Poll::Ready(Err(error.with_waited(now.since(self.begun))));
        }
        let reserved = in_the_way.iter().filter(|grant| grant.is_over);
        let until = reserved.filter_map(|grant| grant.reserved_until).min();
        let look_again = [self.deadline, due, until].into_iter().flatten().min();
        self.alarm = look_again.map(|at| self.shelf.clock.wake_at(at, cx.waker().clone()));
        state.wakers.push(cx.waker().clone());
        Poll::Pending
    }
}

impl Upstream for Shelf {
    fn claim<'a>(&'a self, claim: Claim<'a>) -> Op<'a, UpstreamGrant> {
        let begun = self.clock.now();
        let deadline = match claim.options.wait {
            Some(Wait::AtMost(limit)) => Some(begun.after(limit)),
            _ => None,
        };
        let mut claiming = Claiming {
            shelf: self.clone(),
            key: claim.key.to_owned(),
            options: claim.options,
            caller: claim.caller.clone(),
            part_of_set: claim.part_of_set,
            begun,
            deadline,
            alarm: None,
        };
        Op::later(poll_fn(move |cx| claiming.poll(cx)))
    }

    fn complete(&self, key: &str, turn: UpstreamGrant, completion: Completion) -> Op<'static, ()> {
        Op::Now(self.change(|state, now| {
            let greatest = state.tokens.get(key).copied().unwrap_or(0);
            let lost = state.lost(key, turn);
            let Some(grant) = state.grant_mut(key, turn) else { return Err(lost) };
            let token = completion.token;
            if let Some(bounds) = completion.bounds {
                let is_own = token == grant.turn.token;
                if token.get() < greatest || token.get() == greatest && !is_own {
                    return Err(lost);
                }
                grant.begin(bounds.hold_at_least, now);
                grant.turn.token = token;
            }
            state.tokens.insert(key.to_owned(), greatest.max(token.get()));
            Ok(())
        }))
    }

    fn claims_sets(&self) -> bool {
        false
    }

    fn claim_set<'a>(&'a self, _: ClaimSet<'a>) -> Op<'a, UpstreamGrant> {
        unreachable!("sets are claimed one by one")
    }

    fn end(&self, key: &str, turn: UpstreamGrant, how: UpstreamEnd) -> Op<'static, ()> {
        Op::Now(self.change(|state, now| {
            let lost = state.lost(key, turn);
            state.lost.remove(&turn.id);
            let Some(grant) = state.grant_mut(key, turn) else { return Err(lost) };
            assert_eq!(grant.turn, turn, "it is ended by the name it has");
            grant.is_over = true;
            if !how.reserves {
                grant.reserved_until = None;
            }
            state.expire(now);
            Ok(())
        }))
    }

    fn poll_lost(
        &self,
        _: &str,
        turn: UpstreamGrant,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<LostCause> {
        let mut state = self.state();
        if let Some(cause) = state.lost.get(&turn.id) {
            return Poll::Ready(*cause);
        }
        state.wakers.extend(cx.map(|cx| cx.waker().clone()));
        Poll::Pending
    }

    fn unwatch(&self, _: &str, _: UpstreamGrant, waker: &Waker) {
        self.state().wakers.retain(|left| !left.will_wake(waker));
    }

    fn stolen_from(&self, key: &str, turn: UpstreamGrant) -> Vec<HolderInfo> {
        let mut state = self.state();
        state.grant_mut(key, turn).map_or_else(Vec::new, |grant| grant.stolen_from.clone())
    }

    fn refresh(&self, key: &str, turn: UpstreamGrant) -> Op<'static, ()> {
        Op::Now(self.change(|state, now| {
            let lost = state.lost(key, turn);
            let Some(grant) = state.grant_mut(key, turn) else { return Err(lost) };
            assert_eq!(grant.turn, turn, "it is refreshed by the name it has");
            grant.since = Some(now);
            Ok(())
        }))
    }

    fn inspect(&self, query: Query) -> Op<'static, Vec<LockInfo>> {
        Op::ready(self.change(|state, now| {
            state.expire(now);
            let wanted = state.keys.iter().filter(|(key, _)| query.matches(key));
            let info = |(key, grants): (&String, &Vec<Grant>)| {
                let mut info = LockInfo::new(key.clone());
                let (over, held): (Vec<_>, Vec<_>) = grants.iter().partition(|grant| grant.is_over);
                info.holders = held.into_iter().map(|grant| grant.info(now)).collect();
                let until = over.iter().filter_map(|grant| grant.reserved_until).max();
                info.reserved_for = until.map(|until| until.since(now));
                info.reserved_by = over.into_iter().map(|grant| grant.turn.token).collect();
                info
            };
            wanted.map(info).collect()
        }))
    }

    fn evict(&self, key: &str, token: Token) -> Op<'static, bool> {
        let (found, taken) = self.change(|state, _| {
            let mut grants = state.keys.get(key).into_iter().flatten();
            let found = grants.find(|grant| grant.turn.token == token).map(|grant| grant.turn);
            let taken = found.map(|turn| state.take(key, turn, LostCause::Evicted));
            (found.is_some(), taken.unwrap_or_default())
        });
        self.tell_of(taken);
        Op::ready(found)
    }
}
