//! Who gets what: the conclusions that are drawn after every change.

use std::time::Duration;

use locks_core::{ErrorKind, LockError, LostCause, Mode, OwnerId, Token, Wait};

use super::state::{Ask, Held, Stage, State};
use super::{Defect, conflict};

impl State {
    /// What no queue can mend: another capacity, or the holder asking for what it holds.
    pub(super) fn refusal(&self, ask: &Ask) -> Result<(), LockError> {
        for key in &ask.keys {
            let agrees = |mode: Mode| match (mode, ask.options.mode) {
                (Mode::Permit { of, .. }, Mode::Permit { of: mine, .. }) => {
                    of == mine || !self.has(Defect::PermitsAgree)
                }
                (Mode::Permit { .. }, _) | (_, Mode::Permit { .. }) => false,
                _ => true,
            };
            let modes = self.users(key).map(|user| user.options.mode);
            let reserved = self.reserved.iter().filter(|reserved| reserved.key == *key);
            let mut modes = modes.chain(reserved.map(|reserved| reserved.mode));
            if !modes.all(agrees) && !self.has(Defect::MismatchIgnored) {
                let text = format!("`{key}` is in use with or without permits");
                return Err(LockError::new(ErrorKind::PermitsMismatch, key).with_message(text));
            }
        }
        Ok(())
    }

    /// Whoever holds `key` or waits for it.
    fn users<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Ask> {
        let uses = move |ask: &&Ask| ask.occupies(key) || ask.wants() == Some(key);
        self.asks.values().filter(uses)
    }

    pub(super) fn occupants<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Ask> {
        self.asks.values().filter(move |ask| ask.occupies(key))
    }

    /// Whether the occupant is the asker's own (C9).
    pub(super) fn is_own(&self, ask: &Ask, occupant: &Ask) -> bool {
        if self.has(Defect::AnybodyNests) {
            return occupant.caller.owner.is_some();
        }
        let counts =
            |owner: OwnerId| ask.caller.owner == Some(owner) || ask.caller.within.contains(&owner);
        occupant.caller.owner.is_some_and(counts)
            || (self.has(Defect::SiblingsNest)
                && self
                    .asks
                    .get(&occupant.nest)
                    .is_some_and(|outer| outer.caller.owner.is_some_and(counts)))
    }

    pub(super) fn nests(&self, ask: &Ask) -> bool {
        ask.options.reentrant || self.has(Defect::NestsUnasked)
    }

    /// Whether it asks for more than it has shared.
    pub(super) fn is_upgrade(&self, ask: &Ask, key: &str) -> bool {
        self.nests(ask)
            && ask.options.mode == Mode::Exclusive
            && self.occupants(key).any(|own| self.is_own(ask, own))
            && self
                .occupants(key)
                .filter(|own| self.is_own(ask, own))
                .all(|own| own.options.mode == Mode::Shared)
    }

    /// Whoever holds the key and cannot hold it beside this one.
    pub(super) fn conflicting<'a>(&'a self, ask: &'a Ask, key: &'a str) -> Vec<&'a Ask> {
        if self.has(Defect::TwoHolders) {
            return Vec::new();
        }
        let others = self.occupants(key).filter(|holder| holder.id != ask.id);
        let others = others.filter(|holder| !(self.nests(ask) && self.is_own(ask, holder)));
        if let Mode::Permit { of, .. } = ask.options.mode {
            let others = Vec::from_iter(others);
            let of = match (self.defect, others.first().map(|first| first.options.mode)) {
                (Some(Defect::PermitsOfTheFirst), Some(Mode::Permit { of, .. })) => of,
                (Some(Defect::OnePermitTooMany), _) => of.saturating_add(1),
                _ => of,
            };
            let held = others.iter().map(|other| self.permits(other.options.mode)).sum::<u64>();
            let wanted = held + self.reserved_permits(key) + self.permits(ask.options.mode);
            return if wanted > of.into() { others } else { Vec::new() };
        }
        let mode = ask.options.mode;
        others
            .filter(|holder| match (self.defect, mode, holder.options.mode) {
                (Some(Defect::SharedExcludesShared), Mode::Shared, Mode::Shared) => true,
                (Some(Defect::WaitingReadersOneByOne), Mode::Shared, Mode::Shared) => {
                    ask.waker.is_some()
                }
                (Some(Defect::ExclusiveBesideShared), Mode::Exclusive, Mode::Shared) => false,
                (Some(Defect::SharedBesideExclusive), Mode::Shared, Mode::Exclusive) => false,
                (_, mode, held) => conflict(mode, held),
            })
            .collect()
    }

    fn is_reserved(&self, ask: &Ask, key: &str) -> bool {
        let mut reserved = self.reserved.iter().filter(|reserved| reserved.key == key);
        match ask.options.mode {
            Mode::Permit { of, .. } => {
                let held = self.occupants(key).map(|held| self.permits(held.options.mode));
                let wanted = held.sum::<u64>() + self.permits(ask.options.mode);
                reserved.count() > 0 && wanted + self.reserved_permits(key) > of.into()
            }
            _ => reserved.any(|reserved| {
                !(self.has(Defect::AtLeastFreeForOwner) && reserved.owner == ask.caller.owner)
            }),
        }
    }

    fn reserved_permits(&self, key: &str) -> u64 {
        let reserved = self.reserved.iter().filter(|reserved| reserved.key == key);
        let permits = reserved.map(|reserved| match self.has(Defect::ReservesOnePermit) {
            true => 1,
            false => self.permits(reserved.mode),
        });
        permits.sum()
    }

    /// How many permits it is that are asked for or held.
    pub(super) fn permits(&self, mode: Mode) -> u64 {
        match mode {
            Mode::Permit { take, .. } if !self.has(Defect::TakesOnePermit) => take.into(),
            _ => 1,
        }
    }

    /// The waiters that this one may not overtake.
    pub(super) fn ahead<'a>(&'a self, ask: &'a Ask, key: &'a str) -> Vec<&'a Ask> {
        let unfair = ask.options.fair == Some(false) && !self.has(Defect::UnfairQueues);
        let own = self.nests(ask) && self.occupants(key).any(|own| self.is_own(ask, own));
        let own = own && !(self.has(Defect::UpgradeQueuesLast) && self.is_upgrade(ask, key));
        if unfair || own {
            return Vec::new();
        }
        let before = |first: &Ask| match self.defect {
            Some(Defect::LastComeFirstServed) => first.id > ask.id,
            Some(Defect::ReadersOvertake) => first.options.mode == Mode::Shared,
            Some(Defect::LightOvertakesHeavy) => {
                let [first_takes, takes] = [first, ask].map(|one| self.permits(one.options.mode));
                first.id < ask.id && first_takes <= takes
            }
            Some(Defect::WritersOvertake) => first.options.mode == Mode::Exclusive,
            _ => first.id < ask.id || self.is_upgrade(first, key),
        };
        let waits = |first: &&Ask| {
            let here = first.wants() == Some(key) || self.has(Defect::OneQueueForAll);
            first.id != ask.id && first.is_waiting() && here
        };
        self.asks.values().filter(waits).filter(|first| before(first)).collect()
    }

    /// Draws every conclusion there is.
    pub(super) fn conclude(&mut self) {
        self.reserved.retain(|reserved| reserved.until > self.now);
        self.end_old_holds();
        self.time_out();
        loop {
            let waiting =
                Vec::from_iter(self.asks.values().filter(|a| a.is_waiting()).map(|a| a.id));
            let thief = match self.has(Defect::LastThiefWins) {
                true => waiting.iter().rev().any(|id| self.steal(*id)),
                false => waiting.iter().any(|id| self.steal(*id)),
            };
            if thief {
                continue;
            }
            let upgrade = |id: &&u64| {
                let ask = &self.asks[id];
                ask.wants().is_some_and(|key| self.is_upgrade(ask, key))
            };
            let (first, then): (Vec<_>, Vec<_>) = waiting.iter().partition(|id| upgrade(id));
            if !first.into_iter().chain(then).any(|id| self.advance_ask(id)) {
                break;
            }
        }
        self.refuse_deadlocks();
    }

    /// A newcomer is looked at once before anybody is woken for it.
    pub(super) fn admit(&mut self, id: u64) {
        self.conclude();
        self.barge(id);
        while self.asks[&id].is_waiting() && (self.steal(id) || self.advance_ask(id)) {}
        if self.has(Defect::UpgradeLosesLock) {
            self.let_go_of_own(id);
        }
    }

    /// For the defect that gives up the shared lock in order to queue for the exclusive one.
    fn let_go_of_own(&mut self, id: u64) {
        let ask = &self.asks[&id];
        let Some(key) = ask.wants().filter(|key| self.is_upgrade(ask, key)) else { return };
        let own = self.occupants(key).filter(|own| self.is_own(ask, own)).map(|own| own.nest);
        Vec::from_iter(own).into_iter().for_each(|own| self.end_nest(own, LostCause::Forgotten));
    }

    /// For the defects that let a newcomer take what a waiter has been given but not yet seen.
    fn barge(&mut self, id: u64) {
        let fair = |id: u64| self.asks[&id].options.fair == Some(true);
        let Some(key) = self.asks[&id].wants() else { return };
        let unseen = |ask: &&Ask| ask.held().is_some_and(|held| !held.seen);
        let Some(given) = self.occupants(key).find(unseen).map(|ask| ask.id) else { return };
        let barges = match self.defect {
            Some(Defect::NewcomersOvertake) => !fair(id) && !fair(given),
            Some(Defect::FairIgnored) => fair(id),
            Some(Defect::FairWaiterOvertaken) => fair(given),
            _ => false,
        };
        if barges {
            let given = self.asks.get_mut(&given).expect("it was just found");
            (given.stage, given.got) = (Stage::Waiting, 0);
            self.grant(id);
        }
    }

    fn end_old_holds(&mut self) {
        if self.has(Defect::AtMostForgotten) {
            return;
        }
        let over = |ask: &&Ask| match (ask.held(), ask.options.hold_at_most) {
            (Some(held), Some(most)) => held.granted + most <= self.now,
            _ => false,
        };
        let mut nests = Vec::from_iter(self.asks.values().filter(over).map(|ask| ask.nest));
        if self.has(Defect::AtMostEndsSuccessor) {
            let due = Vec::from_iter(self.ends.extract_if(.., |(_, at)| *at <= self.now));
            for (key, _) in due {
                nests.extend(self.occupants(&key).map(|ask| ask.nest));
            }
        }
        nests.into_iter().for_each(|nest| self.end_nest(nest, LostCause::HeldTooLong));
        if self.has(Defect::LeaseNotRenewed) {
            let over = |ask: &&Ask| match (ask.held(), ask.options.lease) {
                (Some(held), Some(lease)) => held.granted + lease <= self.now,
                _ => false,
            };
            let nests = Vec::from_iter(self.asks.values().filter(over).map(|ask| ask.nest));
            nests.into_iter().for_each(|nest| self.end_nest(nest, LostCause::Expired));
        }
    }

    fn time_out(&mut self) {
        if self.has(Defect::TimeoutNever) {
            return;
        }
        let late = |ask: &&Ask| ask.is_waiting() && self.is_past_deadline(ask.id);
        for id in Vec::from_iter(self.asks.values().filter(late).map(|ask| ask.id)) {
            // At the very end of its time it may still find the key free.
            while self.asks[&id].is_waiting() && self.advance_ask(id) {}
            self.refuse_if_waiting(id, ErrorKind::Timeout);
        }
    }

    /// Gives the asker its next key, if nobody is in the way; whether it did.
    fn advance_ask(&mut self, id: u64) -> bool {
        let ask = &self.asks[&id];
        let Some(key) = ask.wants() else { return false };
        let free = self.conflicting(ask, key).is_empty()
            && !self.is_reserved(ask, key)
            && self.ahead(ask, key).is_empty();
        if free {
            self.grant(id);
        }
        free
    }

    /// Steals what is in the asker's way, if it is due; whether it did.
    fn steal(&mut self, id: u64) -> bool {
        let ask = &self.asks[&id];
        let (Some(key), Some(age)) = (ask.wants(), ask.options.steal_after) else { return false };
        let late = ask.waker.is_some() && self.has(Defect::StealOnlyOnArrival);
        let behind = self.has(Defect::StealBehindQueue) && !self.ahead(ask, key).is_empty();
        let mut victims = self.conflicting(ask, key);
        if self.has(Defect::StealsNeedlessly) {
            victims = self.occupants(key).collect();
        }
        if victims.is_empty() || late || behind {
            return false;
        }
        let due = |victim: &&Ask| self.is_stealable(victim, key, age);
        if let Mode::Permit { of, .. } = ask.options.mode {
            let permits = |asks: &[&Ask]| {
                asks.iter().map(|held| self.permits(held.options.mode)).sum::<u64>()
            };
            let wanted = permits(&victims) + self.reserved_permits(key) + permits(&[ask]);
            let excess = match self.has(Defect::StealsOnePermit) {
                true => 1,
                false => wanted.saturating_sub(of.into()),
            };
            victims.retain(due);
            victims.sort_by_key(|victim| victim.held().map(|held| held.since));
            if self.has(Defect::StealsYoungestPermit) {
                victims.reverse();
            }
            let enough = |victims: &[&Ask]| match self.has(Defect::StealsAsManyHolds) {
                true => victims.len() as u64 >= excess,
                false => permits(victims) >= excess,
            };
            let Some(fewest) = (0..=victims.len()).find(|count| enough(&victims[..*count])) else {
                return false;
            };
            victims.truncate(fewest);
            for at in (0..fewest).rev() {
                let spared = victims.remove(at);
                if !enough(&victims) || self.has(Defect::RobsInVain) {
                    victims.insert(at, spared);
                }
            }
        } else if self.is_reserved(ask, key) || !victims.iter().all(due) {
            if self.has(Defect::StealsTheOldOnly) {
                let old = Vec::from_iter(victims.into_iter().filter(due).map(|ask| ask.nest));
                old.iter().for_each(|nest| self.end_nest(*nest, LostCause::Stolen));
            }
            return false;
        }
        let nests = Vec::from_iter(victims.into_iter().map(|victim| victim.nest));
        if nests.is_empty() {
            return false;
        }
        if !self.has(Defect::RobbedUnnamed) {
            let robbed = nests.iter().map(|nest| self.holder_info(&self.asks[nest])).collect();
            self.asks.get_mut(&id).expect("it waits").robbed = robbed;
        }
        if !self.has(Defect::VictimKeepsHold) {
            nests.iter().for_each(|nest| self.end_nest(*nest, LostCause::Stolen));
        }
        self.grant(id);
        true
    }

    fn is_stealable(&self, victim: &Ask, key: &str, age: Duration) -> bool {
        let Some(held) = victim.held() else { return false };
        let since = match self.has(Defect::StealByKeyAge) {
            true => self.first_used[key],
            false => held.since,
        };
        let outer = &self.asks[&victim.nest].options.hold_at_least;
        let protected = outer.is_some_and(|least| held.granted + least > self.now);
        let age = if self.has(Defect::StealEarly) { age / 2 } else { age };
        since + age <= self.now && (!protected || self.has(Defect::AtLeastStolen))
    }

    fn grant(&mut self, id: u64) {
        let now = self.now;
        let key = self.asks[&id].wants().expect("it waits").to_owned();
        let upgrade = self.is_upgrade(&self.asks[&id], &key);
        let own = self.asks.values().find(|own| {
            own.occupies(&key) && self.is_own(&self.asks[&id], own) && self.nests(&self.asks[&id])
        });
        let outer = own.and_then(|own| Some((own.nest, *own.held()?)));
        let per_key = self.has(Defect::SetDeadlinePerKey);
        let ask = self.asks.get_mut(&id).expect("it is there");
        if ask.got == 0 {
            ask.first_got = now;
        }
        ask.got += 1;
        if ask.got < ask.keys.len() {
            if let (true, Some(Wait::AtMost(limit))) = (per_key, ask.options.wait) {
                ask.deadline = Some(now + limit);
            }
            return;
        }
        let token = self.token(id, &key, outer.map(|(_, held)| held.token), upgrade);
        let from_first = self.has(Defect::SetAgesFromFirst);
        let renews = self.has(Defect::ReentryRenewsAge);
        let ask = self.asks.get_mut(&id).expect("it is there");
        let since = if from_first { ask.first_got } else { now };
        let mut held = Held { token, since, granted: since, seen: false };
        if let Some((nest, outer)) = outer {
            ask.nest = nest;
            held = Held { token, seen: false, ..outer };
        }
        ask.stage = Stage::Held(held);
        let waker = ask.waker.take();
        if let Some(most) = ask.options.hold_at_most {
            self.ends.push((key, now + most));
        }
        if let Some((nest, _)) = outer.filter(|_| renews) {
            for ask in self.asks.values_mut().filter(|ask| ask.nest == nest) {
                if let Stage::Held(held) = &mut ask.stage {
                    held.since = now;
                }
            }
        }
        if !self.has(Defect::LostWakeUp) {
            self.wakers.extend(waker);
        }
    }

    fn token(&mut self, id: u64, key: &str, outer: Option<Token>, upgrade: bool) -> Token {
        let upgrade = upgrade && !self.has(Defect::UpgradeKeepsToken);
        if let Some(outer) = outer.filter(|_| !upgrade && !self.has(Defect::ReentryNewToken)) {
            return outer;
        }
        let shared =
            self.has(Defect::ReadersShareToken) && self.asks[&id].options.mode == Mode::Shared;
        if let Some(beside) = self.occupants(key).find_map(Ask::held).filter(|_| shared) {
            return beside.token;
        }
        if self.has(Defect::SetTokenOfFirstKey) {
            let last = self.key_tokens.entry(self.asks[&id].keys[0].clone()).or_default();
            *last += 1;
            return Token::new(*last);
        }
        if self.has(Defect::TokensStartAgain) && self.asks.len() == 1 {
            self.last_token = 0;
        }
        if self.has(Defect::TokensOfClients) {
            let last =
                self.key_tokens.entry(format!("client {}", self.asks[&id].client)).or_default();
            *last += 1;
            return Token::new(*last);
        }
        self.last_token += 1;
        Token::new(self.last_token)
    }
}
