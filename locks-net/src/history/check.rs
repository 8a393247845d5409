use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use locks_core::{LostCause, Moment};

use super::beliefs::{Belief, Beliefs};
use super::books::{Books, Given};
use super::entry::{Ask, Entry, Id, KeptBy, What};

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// By which entry.
    pub(crate) index: usize,
    pub(crate) why: String,
}

/// Reads a history from its beginning.
///
/// # Errors
/// The first promise that it breaks.
pub(crate) fn check(history: &[Entry]) -> Result<(), Violation> {
    let mut checker = Checker::default();
    for (index, entry) in history.iter().enumerate() {
        checker.step(entry).map_err(|why| Violation { index, why })?;
    }
    Ok(())
}

/// Whether `real` time is at least `promised` on a clock that is too fast or too slow by little.
pub(super) fn no_less(real: Duration, promised: Duration) -> bool {
    real >= promised.mul_f64(0.97)
}

#[derive(Debug, Default)]
pub(super) struct Checker {
    clients: BTreeMap<u32, ClientHistory>,
    pub(super) asks: BTreeMap<Id, Ask>,
    /// Asked, and without an outcome that its client knows.
    pub(super) open: BTreeSet<Id>,
    pub(super) beliefs: Beliefs,
    /// When their clients came to an end with them, of which the server hears later, if at all.
    pub(super) closed: BTreeMap<Id, Moment>,
    granted_at: BTreeMap<Id, Moment>,
    released_at: BTreeMap<Id, Moment>,
    /// What their clients know to be over: must not come back.
    over: BTreeSet<Id>,
    pub(super) givens: BTreeMap<Id, Given>,
    pub(super) books: Books,
}

#[derive(Debug)]
pub(super) struct ClientHistory {
    pub(super) kept: KeptBy,
    pub(super) is_gone: bool,
    pub(super) paused_since: Option<Moment>,
    /// When its connection ended, if it has none.
    pub(super) cut_at: Option<Moment>,
    /// When that happened last, whether or not it has one again.
    last_cut: Option<Moment>,
    opened_at: Option<Moment>,
    /// The session that it knows to have.
    pub(super) session: Option<u32>,
    pub(super) lease: Duration,
    /// When something of it came to the server last.
    pub(super) arrived: Moment,
}

impl ClientHistory {
    /// How long the server has had reason to take it for gone.
    pub(super) fn silent_for(&self, at: Moment) -> Duration {
        match self.kept {
            KeptBy::Lease => at.since(self.arrived),
            KeptBy::Process => self.cut_at.map_or(Duration::ZERO, |cut| at.since(cut)),
        }
    }

    pub(super) fn was_cut_since(&self, at: Moment) -> bool {
        self.last_cut.is_some_and(|cut| cut >= at)
    }
}

impl Checker {
    fn step(&mut self, entry: &Entry) -> Result<(), String> {
        let at = entry.at;
        match &entry.what {
            What::Joined { client, kept, lease } => {
                let joined = ClientHistory {
                    kept: *kept,
                    is_gone: false,
                    paused_since: None,
                    cut_at: Some(at),
                    last_cut: None,
                    opened_at: None,
                    session: None,
                    lease: *lease,
                    arrived: at,
                };
                self.clients.insert(*client, joined);
            }
            What::Asked { it, ask } => {
                self.asks.insert(*it, ask.clone());
                self.open.insert(*it);
            }
            What::Granted { it, token } => {
                self.close(*it, at)?;
                match self.givens.get(it) {
                    Some(given) if given.token == *token => {}
                    Some(given) => {
                        return Err(format!("{it:?} hears of {token:?} and has {given:?}"));
                    }
                    None => {
                        return Err(format!("{it:?} hears of a grant that is not written down"));
                    }
                }
                self.granted_at.insert(*it, at);
                self.exclude(*it, at)?;
                self.beliefs.insert(*it, Belief { void_since: None });
            }
            What::Refused { it, .. } | What::GivenUp { it } => {
                self.close(*it, at)?;
            }
            What::Released { it } => {
                self.let_go(*it)?;
                self.released_at.insert(*it, at);
            }
            What::Confirmed { it } => {
                self.confirmed(*it)?;
                self.over.insert(*it);
                if self.givens.get(it).is_some_and(|given| given.taken.is_none()) {
                    return Err(format!(
                        "{it:?} is known to be released, which is not written down"
                    ));
                }
            }
            What::Held { it } => {
                let Some(belief) = self.beliefs.get(it) else {
                    return Err(format!("{it:?} is found held, and was over"));
                };
                if let Some(since) = belief.void_since
                    && self.client(*it)?.paused_since.is_none()
                {
                    return Err(format!(
                        "{it:?} is somebody else's since {since:?}, and is found held"
                    ));
                }
                self.may_not_have_heard(*it, at)?;
            }
            What::Lost { it, cause } => self.lost(*it, *cause)?,
            What::Disowned { it } => _ = self.ask(*it)?,
            What::Refreshed { it } => {
                if let Some(given) = self.givens.get_mut(it) {
                    given.since = at;
                }
            }
            What::Evicting { key, token } => self.books.evicting.push((key.clone(), *token)),
            What::Freed { key, token } => {
                let reserved = self.books.reserved.get_mut(key);
                if let Some(reserved) = reserved {
                    reserved.retain(|reserved| !reserved.tokens.contains(token));
                }
            }
            What::Given { it, keys } => self.given(*it, keys.clone(), at)?,
            What::Taken { it, cause } => self.taken(*it, *cause, at)?,
            What::Over { client, session } => self.session_over(*client, *session, at)?,
            What::Stands { alive } => self.stands(alive, at)?,
            What::Rebooted => {
                for given in self.givens.values_mut() {
                    given.taken.get_or_insert(super::books::Revocation { at, cause: None });
                }
                self.books.reserved.clear();
            }
            What::Crashed => {}
            What::Quiet { sessions } => self.quiet(*sessions)?,
            What::Finished { live_keys, sessions } => self.finished(*live_keys, *sessions)?,
            What::Paused { client }
            | What::Resumed { client }
            | What::Died { client }
            | What::Left { client }
            | What::Cut { client }
            | What::Opened { client, .. }
            | What::Arrived { client } => self.happened_to(*client, &entry.what, at),
        }
        Ok(())
    }

    fn happened_to(&mut self, number: u32, what: &What, at: Moment) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        match what {
            What::Paused { .. } => client.paused_since = Some(at),
            What::Resumed { .. } => client.paused_since = None,
            What::Cut { .. } => {
                client.cut_at.get_or_insert(at);
                client.last_cut = Some(at);
            }
            What::Opened { session, .. } => {
                client.cut_at = None;
                client.opened_at = Some(at);
                client.session = Some(*session);
            }
            What::Arrived { .. } => client.arrived = at,
            _ => {
                client.is_gone = true;
                self.beliefs.retain(|it, _| it.client != number);
                let gone = self.open.extract_if(.., |it| it.client == number);
                self.closed.extend(gone.map(|it| (it, at)));
            }
        }
    }

    fn lost(&mut self, it: Id, cause: LostCause) -> Result<(), String> {
        self.let_go(it)?;
        let taken = self.givens.get(&it).and_then(|given| given.taken);
        let told = match cause {
            LostCause::Stolen | LostCause::Evicted => true,
            // A client counts by itself, too, and from sooner than the server (C14).
            LostCause::HeldTooLong => taken.is_some() || !self.counts_a_bound(it)?,
            _ => false,
        };
        if told && taken.and_then(|taken| taken.cause) != Some(cause) {
            return Err(format!("{it:?} hears of {cause:?}, and was {taken:?}"));
        }
        let client = self.client(it)?;
        if !told && client.kept == KeptBy::Process && !client.was_cut_since(self.granted_at(it)) {
            return Err(format!("{it:?} is lost by {cause:?}, while its client was connected"));
        }
        if told {
            self.over.insert(it);
        }
        Ok(())
    }

    /// Whether its client ends it when its bound is over.
    pub(super) fn counts_a_bound(&self, it: Id) -> Result<bool, String> {
        let by_lease = self.client(it)?.kept == KeptBy::Lease;
        Ok(by_lease && self.ask(it)?.at_most.is_some())
    }

    /// Who releases what was taken away hears of that, unless it was told to a connection that is
    /// no more.
    fn confirmed(&self, it: Id) -> Result<(), String> {
        let opened = self.client(it)?.opened_at;
        let asked_before = self.released_at.get(&it).copied() < opened;
        match self.was_taken(it) && !asked_before {
            true => Err(format!("{it:?} is known to be released, and had been taken away")),
            false => Ok(()),
        }
    }

    fn session_over(&self, number: u32, session: u32, at: Moment) -> Result<(), String> {
        let Some(client) = self.clients.get(&number) else { return Ok(()) };
        let silent = client.silent_for(at);
        if client.is_gone || client.session != Some(session) || no_less(silent, client.lease) {
            return Ok(());
        }
        Err(format!(
            "the session of client {number} was ended after it had been silent for {silent:?}"
        ))
    }

    /// The server stands by what it has written down.
    fn stands(&mut self, alive: &[Id], at: Moment) -> Result<(), String> {
        for it in alive {
            if self.over.contains(it) {
                return Err(format!("{it:?} was known to be over, and is back"));
            }
            if self.givens.get(it).is_none_or(|given| given.taken.is_some()) {
                return Err(format!("{it:?} had ended before, and is back"));
            }
        }
        let held = self.givens.iter().filter(|(_, given)| given.taken.is_none());
        let missing = held.map(|(it, _)| *it).filter(|it| !alive.contains(it)).collect::<Vec<_>>();
        for it in missing {
            // A nest that was taken away in part was so as a whole, of which not all was written
            // down.
            let Some(taken) = self.taken_with(it) else {
                return Err(format!("{it:?} was held, and the server does not know of it"));
            };
            self.taken(it, taken, at)?;
        }
        Ok(())
    }

    fn quiet(&self, sessions: usize) -> Result<(), String> {
        let clients = self.clients.values().filter(|client| !client.is_gone).count();
        if sessions > clients {
            return Err(format!("{sessions} sessions are left, and {clients} clients"));
        }
        if let Some(it) = self.open.first() {
            return Err(format!("{it:?} has never come to an end"));
        }
        let held = self.givens.iter().filter(|(_, given)| given.taken.is_none());
        let mut held = held.filter(|(it, _)| self.client(**it).is_ok_and(|client| !client.is_gone));
        match held.next() {
            Some((it, _)) => Err(format!("{it:?} is held in the end, by nobody")),
            None => Ok(()),
        }
    }

    fn finished(&self, live_keys: usize, sessions: usize) -> Result<(), String> {
        let mut held = self.givens.iter().filter(|(_, given)| given.taken.is_none());
        if let Some((it, _)) = held.next() {
            return Err(format!("{it:?} is held in the end, although its client is gone"));
        }
        if live_keys > 0 {
            return Err(format!("{live_keys} keys are left behind"));
        }
        if sessions > 0 {
            return Err(format!("{sessions} sessions are left behind"));
        }
        Ok(())
    }

    fn close(&mut self, it: Id, at: Moment) -> Result<(), String> {
        if !self.open.remove(&it) {
            return Err(format!("{it:?} comes to a second end"));
        }
        self.closed.insert(it, at);
        Ok(())
    }

    fn let_go(&mut self, it: Id) -> Result<(), String> {
        match self.beliefs.remove(&it) {
            Some(_) => Ok(()),
            None => Err(format!("{it:?} is over, and was not held")),
        }
    }

    /// Whether the server has taken it away from its client.
    pub(super) fn was_taken(&self, it: Id) -> bool {
        use LostCause::{Evicted, HeldTooLong, Stolen};
        let taken = self.givens.get(&it).and_then(|given| given.taken);
        taken.is_some_and(|it| matches!(it.cause, Some(Stolen | Evicted | HeldTooLong)))
    }

    pub(super) fn granted_at(&self, it: Id) -> Moment {
        self.granted_at.get(&it).copied().unwrap_or(Moment::from_nanos(0))
    }

    pub(super) fn client(&self, it: Id) -> Result<&ClientHistory, String> {
        self.clients.get(&it.client).ok_or_else(|| format!("{it:?} is of nobody"))
    }

    pub(super) fn ask(&self, it: Id) -> Result<&Ask, String> {
        self.asks.get(&it).ok_or_else(|| format!("{it:?} was never asked"))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (entry {})", self.why, self.index)
    }
}
