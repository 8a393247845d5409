//! Who takes himself to hold what, and who may without being right (C1, C6, C8).

use std::collections::BTreeMap;

use locks_core::{Mode, Moment};

use super::check::Checker;
use super::entry::{Id, KeptBy};

/// A guard, from when its client knows of its grant until that has let go of it or knows of its
/// loss.
#[derive(Clone, Copy, Debug)]
pub(super) struct Belief {
    /// Somebody else was granted what it stands for while its process was stopped, so that it must
    /// not hold any more when it is looked at.
    pub(super) void_since: Option<Moment>,
}

/// Why somebody may take himself to hold what is another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Excuse {
    /// It was taken away, and he has not heard of it.
    Victim,
    /// He is stopped, and hears of it when he goes on.
    Stopped,
}

pub(super) type Beliefs = BTreeMap<Id, Belief>;

impl Checker {
    /// `it` has just been granted to its client: nobody else may take himself to hold a key of it.
    pub(super) fn exclude(&mut self, it: Id, now: Moment) -> Result<(), String> {
        let ask = self.ask(it)?;
        let (keys, mode) = (ask.keys.clone(), ask.mode);
        for key in keys {
            let rivals = self.beliefs.keys().copied().filter(|other| {
                let theirs = &self.asks[other];
                *other != it && theirs.keys.contains(&key) && !self.is_one_nest(it, *other)
            });
            let rivals = rivals.collect::<Vec<_>>();
            match mode {
                Mode::Exclusive | Mode::Shared => {
                    for rival in rivals {
                        let conflicts = mode == Mode::Exclusive || self.asks[&rival].mode != mode;
                        if conflicts && self.excuse(it, rival, &key, now)? == Excuse::Stopped {
                            self.void(rival, now);
                        }
                    }
                }
                Mode::Permit { .. } => {
                    let right = |rival: &Id| self.excuse(it, *rival, &key, now).is_err();
                    let right = rivals.into_iter().filter(right).chain([it]);
                    self.count_permits(&key, right.collect())?;
                }
            }
        }
        Ok(())
    }

    /// Each of these obeyed its own number when it was granted (C16).
    fn count_permits(&self, key: &str, mut holders: Vec<Id>) -> Result<(), String> {
        let token = |it: &Id| self.givens.get(it).map(|given| given.token);
        holders.sort_by_key(token);
        let mut taken = 0;
        for (before, it) in holders.iter().enumerate() {
            let Mode::Permit { take, of } = self.asks[it].mode else { continue };
            taken += u64::from(take);
            if taken > of.into() {
                let (mode, right) = (self.asks[it].mode, &holders[..before]);
                return Err(format!("{it:?} has {mode} of `{key}`, beside {right:?}"));
            }
        }
        Ok(())
    }

    /// Why both `it` and `rival` may take themselves to hold the key.
    fn excuse(&self, it: Id, rival: Id, key: &str, now: Moment) -> Result<Excuse, String> {
        if self.was_taken(it) {
            // It is the victim, and hears of its grant first.
            return Ok(Excuse::Victim);
        }
        if self.was_taken(rival) {
            return self.may_not_have_heard(rival, now).map(|()| Excuse::Victim);
        }
        let client = self.client(rival)?;
        let paused = client.paused_since.is_some();
        let cut = client.was_cut_since(self.granted_at(rival));
        if paused && (client.kept == KeptBy::Lease || cut) {
            return Ok(Excuse::Stopped);
        }
        Err(format!("{it:?} and {rival:?} both hold `{key}`"))
    }

    /// It must not hold any more when it is looked at.
    fn void(&mut self, it: Id, now: Moment) {
        if let Some(belief) = self.beliefs.get_mut(&it) {
            belief.void_since.get_or_insert(now);
        }
    }

    /// A victim takes itself to hold on until it hears of it, and no longer than its lease.
    pub(super) fn may_not_have_heard(&self, victim: Id, now: Moment) -> Result<(), String> {
        let client = self.client(victim)?;
        let Some(taken) = self.givens.get(&victim).and_then(|given| given.taken) else {
            return Ok(());
        };
        let lease = self.ask(victim)?.lease;
        if client.kept == KeptBy::Lease
            && client.paused_since.is_none()
            && now.since(taken.at) > lease
        {
            return Err(format!("{victim:?} was taken away more than its lease ago, and goes on"));
        }
        Ok(())
    }

    /// Whether both guards are of one nest, so that they do not exclude each other (C9).
    fn is_one_nest(&self, a: Id, b: Id) -> bool {
        self.is_one_owner(a, b) && (self.asks[&a].reentrant || self.asks[&b].reentrant)
    }

    /// Whether both are asked for in the name of one who can nest.
    pub(super) fn is_one_owner(&self, a: Id, b: Id) -> bool {
        let (one, other) = (&self.asks[&a], &self.asks[&b]);
        let own = a.client == b.client && one.owner.is_some() && one.owner == other.owner;
        own || one.shared.is_some() && one.shared == other.shared
    }
}
