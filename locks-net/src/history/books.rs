//! What the server has written down, and whether it may do what it writes (C6, C7, C14, N1, N4).

use std::collections::BTreeMap;
use std::time::Duration;

use locks_core::{LostCause, Mode, Moment, Token};

use super::check::{Checker, no_less};
use super::entry::Id;

/// A grant that was written down.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) at: Moment,
    /// When its age was renewed last.
    pub(super) since: Moment,
    pub(super) token: Token,
    pub(super) keys: Vec<(String, Token, bool)>,
    pub(super) taken: Option<Revocation>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Revocation {
    pub(super) at: Moment,
    pub(super) cause: Option<LostCause>,
}

/// What a hold has left behind.
#[derive(Clone, Debug)]
pub(super) struct Reservation {
    /// Those of the nest: one of them is the reservation's.
    pub(super) tokens: Vec<Token>,
    mode: Mode,
    /// In real time at the earliest.
    until: Moment,
}

#[derive(Debug, Default)]
pub(super) struct Books {
    /// All tokens of each key, when and in which mode they were granted.
    tokens: BTreeMap<String, BTreeMap<Token, (Moment, Mode)>>,
    pub(super) reserved: BTreeMap<String, Vec<Reservation>>,
    /// Administrative releases that were asked for.
    pub(super) evicting: Vec<(String, Token)>,
}

/// The server may act so much longer on what its client wants no more.
const LATE: Duration = Duration::from_secs(3);

/// Whether a key can be had in both modes at a time: as a reader or, up to a number, a permit each.
fn shares(one: Mode, other: Mode) -> bool {
    one != Mode::Exclusive && std::mem::discriminant(&one) == std::mem::discriminant(&other)
}

impl Checker {
    pub(super) fn given(
        &mut self,
        it: Id,
        keys: Vec<(String, Token, bool)>,
        at: Moment,
    ) -> Result<(), String> {
        if self.givens.get(&it).is_some_and(|given| given.taken.is_none()) {
            return Err(format!("{it:?} is granted twice"));
        }
        let ask = self.ask(it)?;
        let mode = ask.mode;
        let mut greatest = Token::new(0);
        for (key, token, nested) in &keys {
            // Readers who come together are written down in any order.
            let together = |(then, other): &(Moment, Mode)| *then == at && shares(*other, mode);
            let known = self.books.tokens.get(key).and_then(|tokens| {
                let later = tokens.range(token..);
                let mut wrong = later.filter(|(other, of)| *other == token || !together(of));
                wrong.next().map(|(other, _)| *other)
            });
            let renews = *nested && self.has_token(it, key, *token);
            if let Some(known) = known.filter(|_| !renews) {
                return Err(format!("{it:?} gets {token:?} of `{key}` after {known:?}"));
            }
            greatest = greatest.max(*token);
            if let Some(reserved) = self.books.reserved.get_mut(key) {
                reserved.retain(|reserved| reserved.until > at);
                let units =
                    |mode| if let Mode::Permit { take, .. } = mode { take.into() } else { 0 };
                let taken = reserved.iter().map(|own| units(own.mode)).sum::<u64>() + units(mode);
                let conflicts = |own| match mode {
                    Mode::Permit { of, .. } => !shares(own, mode) || taken > of.into(),
                    Mode::Shared | Mode::Exclusive => !shares(own, mode),
                };
                if let Some(own) = reserved.iter().find(|own| conflicts(own.mode) && !nested) {
                    return Err(format!(
                        "{it:?} gets `{key}`, which is reserved by {:?}",
                        own.tokens
                    ));
                }
            }
        }
        for (key, token, _) in &keys {
            let tokens = self.books.tokens.entry(key.clone()).or_default();
            tokens.entry(*token).or_insert((at, mode));
        }
        let given = Given { at, since: at, token: greatest, keys, taken: None };
        self.givens.insert(it, given);
        Ok(())
    }

    pub(super) fn taken(
        &mut self,
        it: Id,
        cause: Option<LostCause>,
        at: Moment,
    ) -> Result<(), String> {
        let Some(given) = self.givens.get(&it).filter(|given| given.taken.is_none()) else {
            return Err(format!("{it:?} ends and was not held"));
        };
        let ask = self.ask(it)?;
        let held = at.since(given.at);
        match cause {
            Some(LostCause::Stolen) => {
                let due = |thief: Id| {
                    let thief = &self.asks[&thief];
                    thief.steal_after.is_some_and(|after| self.is_due(it, &thief.keys, after, at))
                };
                let late = |closed: &Moment| at.since(*closed) < LATE;
                let closed = self.closed.iter().filter(|(_, closed)| late(closed));
                let others = self.open.iter().chain(closed.map(|(it, _)| it)).copied();
                if !others.filter(|other| *other != it).any(due) {
                    let age = at.since(given.since);
                    return Err(format!("{it:?} was stolen at the age of {age:?}, by nobody"));
                }
                if ask.at_least.is_some_and(|bound| !no_less(held, bound)) {
                    return Err(format!("{it:?} was stolen, which is to be held for longer"));
                }
            }
            Some(LostCause::HeldTooLong) => {
                let over = |own: Id| {
                    let bound = self.asks[&own].at_most;
                    let given = self.givens.get(&own);
                    let held = given.map_or(Duration::ZERO, |given| at.since(given.at));
                    bound.is_some_and(|bound| no_less(held, bound))
                };
                if !self.family(it).any(over) {
                    return Err(format!("{it:?} was ended after {held:?}, too early"));
                }
            }
            Some(LostCause::Evicted) => {
                let tokens = self.family(it).filter_map(|own| self.givens.get(&own));
                let mut all = tokens.flat_map(|given| &given.keys);
                if !all.any(|(key, token, _)| self.books.evicting.contains(&(key.clone(), *token)))
                {
                    return Err(format!("{it:?} was evicted, by nobody"));
                }
            }
            None | Some(_) => self.may_end(it, at)?,
        }
        if cause == Some(LostCause::Evicted) {
            self.free(it);
        }
        self.reserve(it, cause, at);
        if let Some(given) = self.givens.get_mut(&it) {
            given.taken = Some(Revocation { at, cause });
        }
        Ok(())
    }

    /// Whether the server may end what its client has not let go of: it has gone, or was silent for
    /// as long as its lease.
    fn may_end(&self, it: Id, at: Moment) -> Result<(), String> {
        let client = self.client(it)?;
        let wants = self.beliefs.contains_key(&it) || self.open.contains(&it);
        if !wants || client.is_gone || self.counts_a_bound(it)? {
            return Ok(());
        }
        let lease = self.ask(it)?.lease;
        let silent = client.silent_for(at);
        if no_less(silent, lease) {
            return Ok(());
        }
        Err(format!("{it:?} was ended after it had been silent for {silent:?}"))
    }

    /// Why another guard was taken away that may be of one nest or set with this one.
    pub(super) fn taken_with(&self, it: Id) -> Option<Option<LostCause>> {
        let near = self.family(it).filter(|other| *other != it);
        let mut causes = near.filter_map(|other| self.givens[&other].taken?.cause);
        causes.next().map(Some)
    }

    /// The guards of its client's thread, or of the owner that it shares, whose holds may be one
    /// with its own.
    fn family(&self, it: Id) -> impl Iterator<Item = Id> {
        let others = self.givens.keys().copied();
        others.filter(move |other| self.is_one_owner(it, *other)).chain([it])
    }

    /// Whether one who asks for these keys may take it, or what is lost with it (C6, C11).
    fn is_due(&self, it: Id, keys: &[String], after: Duration, at: Moment) -> bool {
        let givens = self.family(it).filter_map(|own| self.givens.get(&own));
        givens
            .filter(|given| no_less(at.since(given.since), after))
            .any(|given| given.keys.iter().any(|(key, ..)| keys.contains(key)))
    }

    /// An eviction leaves nothing of the nest, the guards that went before included.
    fn free(&mut self, it: Id) {
        let givens = self.family(it).filter_map(|own| self.givens.get(&own));
        let keys = givens.flat_map(|given| given.keys.clone()).collect::<Vec<_>>();
        for (key, token, _) in keys {
            if let Some(reserved) = self.books.reserved.get_mut(&key) {
                reserved.retain(|own| !own.tokens.contains(&token));
            }
        }
    }

    /// The last guard of a nest leaves a reservation, if any of them was to be held for longer
    /// (C14).
    fn reserve(&mut self, it: Id, cause: Option<LostCause>, at: Moment) {
        let (Some(given), Some(ask)) = (self.givens.get(&it), self.asks.get(&it)) else { return };
        if cause == Some(LostCause::Evicted) {
            return;
        }
        for (key, ..) in given.keys.clone() {
            let nest = self.family(it).filter_map(|own| Some((own, self.givens.get(&own)?)));
            let nest = nest.filter(|(_, own)| own.keys.iter().any(|(other, ..)| *other == key));
            let nest = nest.filter(|(_, own)| {
                own.taken.is_none_or(|taken| {
                    taken.at > given.at && taken.cause != Some(LostCause::Evicted)
                })
            });
            let nest = nest.collect::<Vec<_>>();
            if nest.iter().any(|(own, given)| *own != it && given.taken.is_none()) {
                continue;
            }
            // A clock may be fast by so much.
            let bound = |own| self.asks[&own].at_least.map(|bound| bound.mul_f64(0.97));
            let until = nest.iter().filter_map(|(own, given)| Some(given.at.after(bound(*own)?)));
            if let Some(until) = until.max().filter(|until| *until > at) {
                let keys = nest.iter().flat_map(|(_, given)| &given.keys);
                let tokens = keys.filter(|(other, ..)| *other == key).map(|(_, token, _)| *token);
                let reservation = Reservation { tokens: tokens.collect(), mode: ask.mode, until };
                self.books.reserved.entry(key).or_default().push(reservation);
            }
        }
    }

    fn has_token(&self, it: Id, key: &str, token: Token) -> bool {
        let own = self.givens.iter().filter(|(own, given)| {
            given.taken.is_none() && (own.client == it.client || self.is_one_owner(it, **own))
        });
        own.flat_map(|(_, given)| &given.keys).any(|(held, own, _)| held == key && *own == token)
    }
}
