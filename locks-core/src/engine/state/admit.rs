use std::sync::Arc;

use super::ask::KeyRequest;
use super::hold::HoldEntry;
use super::{Grant, QueuePosition, State, Units, Waiter};
use crate::{Caller, LostCause, Mode, OwnerId, Token};

/// What comes of asking.
pub(in crate::engine) enum KeyAnswer {
    Granted(Grant),
    /// It is in the queue.
    Queued(QueuePosition),
    Refused(KeyRefusal),
    /// A token has to be drawn before it can be answered.
    NoToken,
}

/// Why a request is turned down at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum KeyRefusal {
    Contended,
    /// The caller holds the key itself.
    Own,
    /// Another shared holder is waiting to be upgraded, and would wait for the caller for ever.
    Upgrade,
    PermitsMismatch,
    /// The upstream cannot make a shared hold exclusive.
    NoUpgrade,
    /// The caller has lost the hold that it asks for another guard of.
    Lost(Token, LostCause),
}

/// What comes of a request of somebody who holds the key already.
enum Again {
    Granted(Grant),
    /// It waits to make the shared hold with this token exclusive.
    Upgrades(Token),
    Refused(KeyRefusal),
}

impl State {
    /// Asks for the key: granted, queued or refused. The waiter is the request's own as yet.
    pub(in crate::engine) fn ask(&mut self, waiter: &mut Arc<Waiter>) -> KeyAnswer {
        if self.lacks_token() {
            return KeyAnswer::NoToken;
        }
        if self.has_stale_hint() {
            self.grant_waiters();
        }
        let ask = &waiter.ask;
        if ask.only_nests {
            let around = self.holds.iter().position(|hold| hold.lets_in(&ask.caller));
            return match around {
                Some(index) => {
                    KeyAnswer::Granted(self.nest_as(index, self.holds[index].mode, &ask.caller))
                }
                None => KeyAnswer::Refused(
                    self.lost_by(&ask.caller).map_or(KeyRefusal::Contended, |(token, cause)| {
                        KeyRefusal::Lost(token, cause)
                    }),
                ),
            };
        }
        if !self.agrees_with(ask.mode) {
            return KeyAnswer::Refused(KeyRefusal::PermitsMismatch);
        }
        let is_own = |hold: &HoldEntry| hold.is_own(&ask.caller) && !ask.mode.exceeds(hold.mode);
        // One that lets it in by now, if there is one.
        let open = self.holds.iter().position(|hold| is_own(hold) && hold.lets_in(&ask.caller));
        let own = open.or_else(|| self.holds.iter().position(is_own));
        // Whether or not its hold lets it in as yet: the upstream would not hear of it (C1).
        if let Some(index) = own
            && ask.has_upstream
            && ask.reentrant
            && ask.mode.outranks(self.holds[index].mode)
        {
            return KeyAnswer::Refused(KeyRefusal::NoUpgrade);
        }
        if let Some(index) = own
            && let Some(again) = self.ask_again(index, ask)
        {
            return match again {
                Again::Granted(grant) => self.granted(grant),
                Again::Upgrades(token) => self.line_up(waiter, Some(token)),
                Again::Refused(refusal) => KeyAnswer::Refused(refusal),
            };
        }
        let (enters, errand) = (self.may_enter(ask), self.has_errand());
        if enters && !errand {
            let grant = self.grant(ask);
            return self.granted(grant);
        }
        let steals = self.is_due(ask);
        if steals && !errand {
            let stolen = self.steal(ask);
            self.grant_waiters();
            return KeyAnswer::Granted(stolen);
        }
        // What an errand alone keeps off sees the end of that, whether it waits or not.
        if !ask.waits && !(errand && (enters || steals)) {
            return KeyAnswer::Refused(KeyRefusal::Contended);
        }
        if own.is_some_and(|index| self.is_barred(index, ask)) {
            return KeyAnswer::Refused(KeyRefusal::Own);
        }
        self.line_up(waiter, None)
    }

    /// S5: whoever may nest in what was granted beside the queue, or steal it by now, does not wait
    /// on.
    fn granted(&mut self, grant: Grant) -> KeyAnswer {
        if self.tally.reentrant > 0 || !self.thieves.is_empty() {
            self.grant_waiters();
        }
        KeyAnswer::Granted(grant)
    }

    fn line_up(&mut self, waiter: &mut Arc<Waiter>, upgrades: Option<Token>) -> KeyAnswer {
        let again = waiter.ask.requested_at.is_some();
        let place = self.enqueue(waiter, upgrades);
        // S5: it may head the queue of a key that is free, before somebody who has been woken to
        // take it.
        let claimed = if again { self.claim(place) } else { None };
        claimed.map_or(KeyAnswer::Queued(place), KeyAnswer::Granted)
    }

    /// A request of somebody who holds the key already (C9). `None`: it is like any other.
    fn ask_again(&mut self, index: usize, ask: &KeyRequest) -> Option<Again> {
        if !ask.reentrant || !self.holds[index].lets_in(&ask.caller) {
            return None;
        }
        if !ask.mode.outranks(self.holds[index].mode) {
            return Some(Again::Granted(self.nest(index, ask)));
        }
        if self.used() == self.holds[index].mode.units() {
            return Some(Again::Granted(self.upgrade(index, ask)));
        }
        if self.is_due(ask) {
            return None;
        }
        // One whose own hold is lost meanwhile has nothing to let go of.
        let upgrades = |waiter: &Waiter| {
            let of = waiter.upgrades;
            of.is_some_and(|token| self.holds.iter().any(|hold| hold.token == token))
        };
        let upgrades = self.queue.iter().any(|(_, entry)| upgrades(&entry.waiter));
        if !ask.waits {
            return Some(Again::Refused(KeyRefusal::Contended));
        }
        if upgrades {
            return Some(Again::Refused(KeyRefusal::Upgrade));
        }
        Some(Again::Upgrades(self.holds[index].token))
    }

    /// Whether the caller's own hold is in its way, so that waiting would be waiting for itself. A
    /// permit is never waited for by name, and a nest opens when the guards inside it go. What is
    /// held in a shared owner's name may be another process's to give back; whether it is this
    /// thread's or scope's is found with the other cycles (C10).
    fn is_barred(&self, own: usize, ask: &KeyRequest) -> bool {
        if ask.caller.owner.is_some_and(OwnerId::is_shared) {
            return false;
        }
        let hold = &self.holds[own];
        let conflicts = ask.mode == Mode::Exclusive || hold.mode == Mode::Exclusive;
        let nest_opens = ask.reentrant && !hold.lets_in(&ask.caller);
        conflicts && !nest_opens && ask.steal_after.is_none()
    }

    /// Whether a newcomer gets in (C3), errands aside.
    fn may_enter(&self, ask: &KeyRequest) -> bool {
        if !self.fits(ask.mode) {
            return self.bypasses(ask);
        }
        let Some((_, first)) = self.queue.first() else { return true };
        match ask.fair {
            Some(false) => true,
            Some(true) => false,
            None if self.bypasses(ask) => true,
            // Whoever heads the queue has been woken, and was not quick enough.
            None => {
                first.waiter.upgrades.is_none()
                    && self.tally.fair == 0
                    && self.used() == 0
                    && ask.mode == Mode::Exclusive
                    && first.waiter.ask.mode == Mode::Exclusive
            }
        }
    }

    /// Whether `ask` need not stand behind those who hold provisionally, nor behind those who wait
    /// for that: the upstream has not granted those anything yet, they would steal later than it or
    /// not at all, and the upstream decides between them (C6).
    pub(super) fn bypasses(&self, ask: &KeyRequest) -> bool {
        // A fair one might find at the upstream that there is nothing to steal, and overtake.
        let joins = ask.has_upstream && ask.fair != Some(true);
        let Some(age) = ask.steal_after.filter(|_| joins) else { return false };
        let gives_way = |hold: &HoldEntry| {
            !hold.is_granted() && hold.steal_after.is_none_or(|theirs| age < theirs)
        };
        !self.holds.is_empty() && self.holds.iter().all(gives_way)
    }

    /// Grants the key to a newcomer or a waiter that fits.
    pub(super) fn grant(&mut self, ask: &KeyRequest) -> Grant {
        let token = if ask.has_upstream { self.next_provisional() } else { self.next_token() };
        self.holds.push(HoldEntry::granted(ask, token, self.now));
        Grant { token, level: 0 }
    }

    /// Lets the caller into its own hold; the token stays that of the guard around it (C7), and the
    /// permits those of the hold (C16).
    pub(super) fn nest(&mut self, index: usize, ask: &KeyRequest) -> Grant {
        let mode = if ask.mode.takes_permits() { self.holds[index].mode } else { ask.mode };
        self.nest_as(index, mode, &ask.caller)
    }

    fn nest_as(&mut self, index: usize, mode: Mode, caller: &Caller) -> Grant {
        let token = self.holds[index].innermost().token;
        let level = self.holds[index].nest(mode, caller, token);
        Grant { token, level }
    }

    /// Makes the only shared hold the exclusive one, with a new token (C9).
    pub(super) fn upgrade(&mut self, index: usize, ask: &KeyRequest) -> Grant {
        let token = self.next_token();
        let level = self.holds[index].nest(ask.mode, &ask.caller, token);
        Grant { token, level }
    }
}
