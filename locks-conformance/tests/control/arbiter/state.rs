use std::collections::{BTreeMap, BTreeSet};
use std::task::{Poll, Waker};
use std::thread::ThreadId;
use std::time::Duration;

use locks_core::{
    Caller, ErrorKind, HolderInfo, LockError, LostCause, Mode, Options, OwnerId, Request, Reserve,
    Token, Wait,
};

use super::Defect;

/// Everything the arbiter knows.
#[derive(Default)]
pub(super) struct State {
    pub(super) defect: Option<Defect>,
    pub(super) now: Duration,
    /// Requests that wait, hold, or have lost, in their order of arrival.
    pub(super) asks: BTreeMap<u64, Ask>,
    pub(super) reserved: Vec<Reservation>,
    pub(super) wakers: Vec<Waker>,
    pub(super) last_token: u64,
    pub(super) last_id: u64,
    /// For defects that mistake one hold for another, or keep what they should not.
    pub(super) remembered: BTreeSet<String>,
    pub(super) first_used: BTreeMap<String, Duration>,
    pub(super) key_tokens: BTreeMap<String, u64>,
    pub(super) ends: Vec<(String, Duration)>,
}

/// One request, from its arrival until its hold is given back.
pub(super) struct Ask {
    pub(super) id: u64,
    pub(super) client: u32,
    pub(super) keys: Vec<String>,
    pub(super) options: Options,
    pub(super) caller: Caller,
    pub(super) who: Option<String>,
    pub(super) thread: ThreadId,
    pub(super) arrived: Duration,
    pub(super) deadline: Option<Duration>,
    /// How many of its keys it has, while it waits for the next.
    pub(super) got: usize,
    pub(super) first_got: Duration,
    /// The request whose hold this one is nested in, or its own id.
    pub(super) nest: u64,
    /// The key whose queue it was last checked in for a deadlock.
    pub(super) checked: Option<usize>,
    /// What was done under it has succeeded.
    pub(super) is_done: bool,
    /// Whom it has robbed.
    pub(super) robbed: Vec<HolderInfo>,
    pub(super) stage: Stage,
    pub(super) waker: Option<Waker>,
    pub(super) watchers: Vec<Waker>,
}

pub(super) enum Stage {
    Waiting,
    Refused(Option<LockError>),
    Held(Held),
    Lost(Held, LostCause),
}

#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) token: Token,
    pub(super) since: Duration,
    pub(super) granted: Duration,
    pub(super) seen: bool,
}

pub(super) struct Reservation {
    pub(super) key: String,
    pub(super) until: Duration,
    pub(super) token: Token,
    pub(super) mode: Mode,
    pub(super) owner: Option<OwnerId>,
}

impl Ask {
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Waiting)
    }

    pub(super) fn held(&self) -> Option<&Held> {
        match &self.stage {
            Stage::Held(held) => Some(held),
            _ => None,
        }
    }

    /// The key it waits for.
    pub(super) fn wants(&self) -> Option<&str> {
        self.is_waiting().then(|| self.keys[self.got].as_str())
    }

    /// Whether it has this key, for good or on its way to a set.
    pub(super) fn occupies(&self, key: &str) -> bool {
        let has = match self.stage {
            Stage::Held(_) => self.keys.as_slice(),
            Stage::Waiting => &self.keys[..self.got],
            Stage::Refused(_) | Stage::Lost(..) => &[],
        };
        has.iter().any(|had| had == key)
    }
}

impl State {
    pub(super) fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Takes in a request; what comes of it is found at the conclusion.
    pub(super) fn ask(&mut self, request: &Request<'_>, client: u32) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        let mut keys = Vec::from_iter(request.keys.iter().map(|key| self.name(key, client)));
        if self.has(Defect::SetUnsorted) {
            keys.reverse();
        }
        let deadline = match request.wait() {
            Wait::Forever if self.has(Defect::ForeverEnds) => {
                Some(self.now + Duration::from_millis(500))
            }
            Wait::Forever | Wait::Try => None,
            Wait::AtMost(limit) if self.has(Defect::TimeoutEarly) => Some(self.now + limit / 2),
            Wait::AtMost(limit) => self.now.checked_add(limit),
        };
        for key in &keys {
            self.first_used.entry(key.clone()).or_insert(self.now);
            if self.has(Defect::KeysRemembered) {
                self.remembered.insert(key.clone());
            }
        }
        if self.has(Defect::SetForgetsKey) && keys.len() > 1 {
            keys.pop();
        }
        let mut caller = request.caller.clone();
        let who = caller.owner.map(|owner| owner.to_string());
        if self.has(Defect::AnonymousAreOne) && caller.owner.is_none() {
            caller = Caller::named(OwnerId::from(u64::MAX));
        }
        let mut ask = Ask {
            id,
            client,
            keys,
            options: self.bounded(request.options),
            caller,
            who,
            thread: std::thread::current().id(),
            arrived: self.now,
            deadline,
            got: 0,
            first_got: self.now,
            nest: id,
            checked: None,
            is_done: false,
            robbed: Vec::new(),
            stage: Stage::Waiting,
            waker: None,
            watchers: Vec::new(),
        };
        if let Err(error) = self.refusal(&ask) {
            ask.stage = Stage::Refused(Some(error));
        } else if ask.options.only_nests && !self.has(Defect::TakesWhereItIsToNest) {
            let around = self.occupants(&ask.keys[0]).find(|own| self.is_own(&ask, own));
            match around.map(|own| own.options.mode) {
                Some(mode) => ask.options.mode = mode,
                None => {
                    let error = LockError::new(ErrorKind::Contended, &*ask.keys[0]);
                    ask.stage = Stage::Refused(Some(error));
                }
            }
        }
        self.asks.insert(id, ask);
        self.admit(id);
        if request.wait() == Wait::Try && !self.has(Defect::NoWaitQueues) {
            self.refuse_if_waiting(id, ErrorKind::Contended);
        }
        id
    }

    /// The options with bounds that can be added to a time: a century is for ever.
    fn bounded(&self, mut options: Options) -> Options {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        for bound in [&mut options.steal_after, &mut options.hold_at_most] {
            *bound = bound.map(|bound| bound.min(CENTURY));
        }
        options.hold_at_least = options.hold_at_least.map(|least| match self.defect {
            Some(Defect::EndlessIsNothing) if least > CENTURY => Duration::ZERO,
            Some(Defect::BoundsRoundUp) => least.max(Duration::from_secs(1)),
            _ => least.min(CENTURY),
        });
        options
    }

    /// What it calls the key, which is the key, but for its defects.
    pub(super) fn name(&self, key: &str, client: u32) -> String {
        match self.defect {
            Some(Defect::ClientsApart) => format!("{client} {key}"),
            Some(Defect::KeysFoldCase) => key.to_lowercase(),
            Some(Defect::KeysEndAtSeparator) => {
                key.split_inclusive(['/', ':']).next().unwrap_or(key).to_owned()
            }
            Some(Defect::KeysAreCut) => key.chars().take(1000).collect(),
            _ => key.to_owned(),
        }
    }

    pub(super) fn refuse_if_waiting(&mut self, id: u64, kind: ErrorKind) {
        if self.asks[&id].is_waiting() {
            let error = self.error(kind, id);
            self.refuse(id, error);
        }
    }

    pub(super) fn refuse(&mut self, id: u64, error: LockError) {
        let keeps = self.has(Defect::SetKeepsFirst);
        let ask = self.asks.get_mut(&id).expect("it waits");
        if keeps && ask.got > 0 {
            // What it has so far stays with nobody.
            let key = ask.keys[0].clone();
            let until = self.now + Duration::from_secs(1_000_000);
            let (mode, token) = (ask.options.mode, Token::new(0));
            self.reserved.push(Reservation { key, until, token, mode, owner: None });
        }
        let ask = self.asks.get_mut(&id).expect("it waits");
        ask.stage = Stage::Refused(Some(error));
        self.wakers.extend(ask.waker.take());
    }

    pub(super) fn is_past_deadline(&self, id: u64) -> bool {
        self.asks[&id].deadline.is_some_and(|deadline| deadline <= self.now)
    }

    /// The next moment at which something happens by itself.
    pub(super) fn next_event(&self) -> Option<Duration> {
        let mut events = Vec::from_iter(self.reserved.iter().map(|reserved| reserved.until));
        events.extend(self.ends.iter().map(|(_, at)| *at));
        for ask in self.asks.values() {
            events.extend(ask.deadline.filter(|_| ask.is_waiting()));
            if let Some(held) = ask.held() {
                let options = &ask.options;
                events.extend(options.hold_at_most.map(|most| held.granted + most));
                events.extend(options.hold_at_least.map(|least| held.granted + least));
                let thieves = self.asks.values().filter(|thief| thief.is_waiting());
                events.extend(
                    thieves.filter_map(|t| t.options.steal_after).map(|age| held.since + age),
                );
            }
        }
        events.into_iter().filter(|at| *at > self.now).min()
    }

    pub(super) fn withdraw(&mut self, id: u64) {
        if self.asks[&id].held().is_some() && self.has(Defect::LeakGrantOnCancel) {
            return;
        }
        if self.asks[&id].is_waiting() && self.has(Defect::LeakOnCancel) {
            return;
        }
        match self.asks[&id].stage {
            Stage::Waiting | Stage::Refused(_) => drop(self.asks.remove(&id)),
            Stage::Held(_) | Stage::Lost(..) => drop(self.release(id)),
        }
    }

    pub(super) fn release(&mut self, id: u64) -> Result<(), LockError> {
        // Some defects end other holds than they should.
        let Some(ask) = self.asks.remove(&id) else { return Err(forgotten()) };
        if self.has(Defect::ReleaseOnItsThreadOnly) && ask.thread != std::thread::current().id() {
            self.asks.insert(id, ask);
            return Ok(());
        }
        if let Stage::Lost(held, cause) = ask.stage {
            if self.has(Defect::ReleaseByNonOwner) {
                self.asks.retain(|_, other| !(other.held().is_some() && other.keys == ask.keys));
            }
            let error = LockError::new(ErrorKind::Lost { cause }, ask.keys.join("`, `"));
            return Err(error.with_token(held.token));
        }
        let nested = self.asks.values().any(|other| other.nest == ask.nest);
        if self.has(Defect::NestEndsWithFirst) && nested {
            self.end_nest(ask.nest, LostCause::Forgotten);
        }
        if nested && self.has(Defect::NestKeepsStrongest) && ask.options.mode == Mode::Exclusive {
            for other in self.asks.values_mut().filter(|other| other.nest == ask.nest) {
                other.options.mode = Mode::Exclusive;
            }
        }
        if !nested {
            self.reserve(&ask, true);
        }
        if self.has(Defect::ReleaseReportsLoss) { Err(forgotten()) } else { Ok(()) }
    }

    fn reserve(&mut self, ask: &Ask, released: bool) {
        let is_done = released && ask.is_done && !self.has(Defect::DoneForgotten);
        let if_done = ask.options.reserve == Reserve::IfDone;
        if if_done && !is_done && !self.has(Defect::UndoneReserved) {
            return;
        }
        let (Stage::Held(held) | Stage::Lost(held, _)) = &ask.stage else { return };
        let Some(least) = ask.options.hold_at_least else { return };
        let from = match self.has(Defect::AtLeastFromRelease) {
            true => self.now,
            false => held.granted,
        };
        let (until, token) = (from + least, held.token);
        if until > self.now && !self.has(Defect::AtLeastForgotten) {
            let (mode, owner) = (ask.options.mode, ask.caller.owner);
            let keys = ask.keys.iter().cloned();
            self.reserved.extend(keys.map(|key| Reservation { key, until, token, mode, owner }));
        }
    }

    /// Takes a whole nest away from its holder.
    pub(super) fn end_nest(&mut self, nest: u64, cause: LostCause) {
        let quiet = self.has(Defect::LossWakesNobody);
        let lost = Vec::from_iter(
            self.asks.values().filter(|ask| ask.nest == nest && ask.held().is_some()).map(|a| a.id),
        );
        for id in lost {
            let mut ask = self.asks.remove(&id).expect("it was just found");
            let held = *ask.held().expect("it holds");
            if !held.seen && !self.has(Defect::HandsOverLost) {
                // Nobody has had it yet: it is asked for again.
                (ask.stage, ask.got, ask.checked) = (Stage::Waiting, 0, None);
                self.asks.insert(id, ask);
                continue;
            }
            if cause != LostCause::Evicted && id == nest {
                self.reserve(&ask, false);
            }
            ask.stage = Stage::Lost(held, cause);
            let watchers = std::mem::take(&mut ask.watchers);
            if !quiet {
                self.wakers.extend(watchers);
            }
            self.asks.insert(id, ask);
        }
    }

    pub(super) fn poll_lost(&mut self, id: u64, waker: Option<Waker>) -> Poll<LostCause> {
        let (untold, early) = (self.has(Defect::LossNotTold), self.has(Defect::LossWithoutCause));
        let contended = self.asks.values().any(|ask| ask.is_waiting() && ask.arrived < self.now);
        let Some(ask) = self.asks.get_mut(&id) else { return Poll::Ready(LostCause::Forgotten) };
        match &ask.stage {
            Stage::Lost(_, cause) if !untold => Poll::Ready(*cause),
            _ if early && contended => Poll::Ready(LostCause::Expired),
            _ => {
                ask.watchers.extend(waker);
                Poll::Pending
            }
        }
    }

    pub(super) fn unwatch(&mut self, id: u64, waker: &Waker) {
        if let Some(ask) = self.asks.get_mut(&id) {
            ask.watchers.retain(|watcher| !watcher.will_wake(waker));
        }
    }

    pub(super) fn refresh(&mut self, id: u64) -> Result<(), LockError> {
        let Some(nest) = self.asks.get(&id).map(|ask| ask.nest) else { return Err(forgotten()) };
        let now = self.now;
        let (forgets, revives) =
            (self.has(Defect::RefreshForgotten), self.has(Defect::RefreshRevives));
        if let Stage::Lost(held, cause) = &self.asks[&id].stage {
            if !revives {
                let error =
                    LockError::new(ErrorKind::Lost { cause: *cause }, &self.asks[&id].keys[0]);
                return Err(error.with_token(held.token));
            }
            let held = *held;
            self.asks.get_mut(&id).expect("it is there").stage = Stage::Held(held);
        }
        for ask in self.asks.values_mut().filter(|ask| ask.nest == nest) {
            if let Stage::Held(held) = &mut ask.stage
                && !forgets
            {
                held.since = now;
            }
        }
        Ok(())
    }

    /// A hold of a thread becomes nobody's; others stay whose they are.
    pub(super) fn detach_owner(&mut self, id: u64) {
        let ignored = self.has(Defect::DisownIgnored);
        let blocks = self.has(Defect::DisownedBlocks);
        let Some(ask) = self.asks.get_mut(&id).filter(|_| !ignored) else { return };
        let thread = |owner: &OwnerId| owner.to_string().starts_with("thread");
        ask.caller.owner = ask.caller.owner.filter(|owner| !thread(owner));
        ask.caller.within.retain(|owner| blocks || !thread(owner));
    }

    pub(super) fn mark_done(&mut self, id: u64) {
        if let Some(ask) = self.asks.get_mut(&id) {
            ask.is_done = true;
        }
    }

    pub(super) fn stolen_from(&self, id: u64) -> Vec<HolderInfo> {
        self.asks.get(&id).map_or_else(Vec::new, |ask| ask.robbed.clone())
    }

    pub(super) fn share(&mut self, id: u64) -> Result<(), LockError> {
        let ignored = self.has(Defect::DowngradeIgnored);
        let Some(ask) = self.asks.get_mut(&id) else { return Err(forgotten()) };
        match (&ask.stage, ask.options.mode) {
            (Stage::Lost(_, cause), _) => {
                return Err(LockError::new(ErrorKind::Lost { cause: *cause }, &*ask.keys[0]));
            }
            (_, Mode::Permit { .. }) => {
                return Err(LockError::unsupported("plain", "downgrade", "it is a permit"));
            }
            _ if ignored => {}
            _ => ask.options.mode = Mode::Shared,
        }
        Ok(())
    }

    pub(super) fn evict(&mut self, key: &str, token: Token) -> bool {
        if self.has(Defect::EvictIgnored) {
            return true;
        }
        let any = self.has(Defect::EvictAnyToken);
        let held = self.asks.values().find(|ask| {
            ask.occupies(key) && ask.held().is_some_and(|held| any || held.token == token)
        });
        if let Some(nest) = held.map(|ask| ask.nest) {
            if self.has(Defect::SetLosesOne) {
                let ask = self.asks.get_mut(&nest).expect("the outermost is there");
                ask.keys.retain(|kept| kept != key);
                return true;
            }
            self.end_nest(nest, LostCause::Evicted);
            return true;
        }
        // What a set has on its way has no token yet: it goes by the number of the request.
        let shrinks = self.has(Defect::SetCompletesWithoutLost);
        let partial = self.asks.values_mut().find(|ask| {
            ask.is_waiting() && ask.occupies(key) && super::info::turn(ask.id) == token
        });
        if let Some(ask) = partial {
            ask.got = match shrinks {
                true => ask.got - 1,
                false => ask.keys.iter().position(|had| had == key).expect("it occupies it"),
            };
            if shrinks {
                ask.keys.retain(|kept| kept != key);
            }
            ask.checked = None;
            return true;
        }
        let before = self.reserved.len();
        self.reserved.retain(|reserved| reserved.key != key || reserved.token != token);
        self.reserved.len() < before
    }
}

fn forgotten() -> LockError {
    LockError::new(ErrorKind::Lost { cause: LostCause::Forgotten }, "")
}
