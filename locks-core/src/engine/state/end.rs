use super::State;
use super::effects::Revoked;
use super::hold::{HoldEntry, Level};
use crate::engine::ports::UpstreamGrant;
use crate::{Caller, LostCause, OwnerId, Token};

/// A hold that was ended from outside, until the last of its guards is gone.
pub(super) struct LostHold {
    cause: LostCause,
    /// Whose the innermost guard was.
    owner: Option<OwnerId>,
    /// The guards of its nest that still live, by level and token.
    guards: Vec<(u32, Token)>,
}

/// How a release went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Ended {
    /// The grant of the upstream that ended with it, if it was the last of its nest.
    Released(Option<UpstreamGrant>),
    /// It had been lost before; nothing was touched (C4).
    Lost(LostCause),
    /// There is no such hold.
    Unknown,
}

impl State {
    /// A guard is given back (C4).
    pub(in crate::engine) fn release(&mut self, token: Token, level: u32) -> Ended {
        let Some((index, nested)) = self.find(token, level) else {
            return self.release_lost(token, level);
        };
        let mut grant = None;
        let hold = &mut self.holds[index];
        hold.remove_level(nested);
        if hold.levels.is_empty() {
            let hold = self.holds.remove(index);
            self.reserved.extend(hold.reservation(self.now, true));
            grant = hold.upstream_grant;
            self.end_upstream(grant, hold.reserves(true));
            hold.watchers.into_iter().for_each(|waker| self.effects.discard(Some(waker)));
        } else {
            hold.restore_mode();
        }
        self.grant_waiters();
        Ended::Released(grant)
    }

    /// Ends a hold from outside: its guards are lost at this moment, and whoever has been granted
    /// it and not taken it asks again (C8). The caller grants what is free then.
    pub(super) fn revoke(&mut self, index: usize, cause: LostCause) {
        let hold: HoldEntry = self.holds.remove(index);
        let holder = hold.holder_info(self.now);
        // Where nobody has ever held it there is nothing to reserve (C14).
        if self.lose(&hold.levels, cause) && cause != LostCause::Evicted {
            self.reserved.extend(hold.reservation(self.now, false));
        }
        self.end_upstream(hold.upstream_grant, hold.reserves(false));
        let more = self.effects.more();
        more.lost.push(Revoked {
            token: hold.token,
            cause,
            owner: hold.owner(),
            guards: hold.levels.iter().map(|level| level.token).collect(),
            owners: hold.levels.iter().map(|level| level.owner).collect(),
            holder,
            thief: None,
        });
        let sets = hold.levels.into_iter().filter_map(|level| Some((level.set?, level.token)));
        more.broken.extend(sets.map(|(set, token)| (set, token, cause)));
        more.wakers.extend(hold.watchers);
    }

    /// Ends the hold or reservation with this token, whoever has it.
    pub(in crate::engine) fn end(&mut self, token: Token, cause: LostCause) -> bool {
        let held = self.holds.iter().position(|hold| {
            hold.token == token || hold.levels.iter().any(|level| level.token == token)
        });
        let reserved = self.reserved.iter().position(|reservation| reservation.token == token);
        match (held, reserved) {
            (Some(index), _) => self.revoke(index, cause),
            (None, Some(index)) => drop(self.reserved.remove(index)),
            (None, None) => return false,
        }
        self.grant_waiters();
        true
    }

    /// Ends what a guard of several keys has here, when it has lost another one (C11). Where it is
    /// nested, the hold around it stays.
    pub(in crate::engine) fn end_member(&mut self, token: Token, cause: LostCause) {
        let found = self.holds.iter().enumerate().find_map(|(index, hold)| {
            let is_member = |level: &Level| level.token == token && level.set.is_some();
            Some((index, hold.levels.iter().position(is_member)?))
        });
        let Some((index, nested)) = found else { return };
        let hold = &mut self.holds[index];
        // The others hear of it from whoever asked.
        hold.levels[nested].set = None;
        if hold.token == token || hold.levels.len() == 1 {
            self.revoke(index, cause);
        } else {
            let guard = hold.levels.remove(nested);
            hold.restore_mode();
            self.effects.more().wakers.append(&mut hold.watchers);
            self.lose(&[guard], cause);
        }
        self.grant_waiters();
    }

    /// An upstream's grant has ended here, and it is to hear of that before the next grant.
    pub(in crate::engine) fn end_upstream(&mut self, grant: Option<UpstreamGrant>, reserves: bool) {
        if let Some(grant) = grant {
            self.ending += 1;
            self.effects.more().ended.push((grant, reserves));
        }
    }

    /// Remembers why the guards of these levels are lost. Returns `false` if there are none, since
    /// nobody had taken them.
    fn lose(&mut self, levels: &[Level], cause: LostCause) -> bool {
        let taken = levels.iter().filter(|level| !level.revoke());
        let guards = taken.map(|level| (level.id, level.token)).collect::<Vec<_>>();
        let had_guards = !guards.is_empty();
        if had_guards {
            let owner = levels.last().and_then(|innermost| innermost.owner);
            self.lost.push(LostHold { cause, owner, guards });
        }
        had_guards
    }

    /// Why this guard is lost; `None`: it is not.
    pub(in crate::engine) fn lost(&self, token: Token, level: u32) -> Option<LostCause> {
        if self.find(token, level).is_some() {
            return None;
        }
        let lost = self.lost.iter().find(|lost| lost.guards.contains(&(level, token)));
        Some(lost.map_or(LostCause::Forgotten, |lost| lost.cause))
    }

    /// The hold that the caller had here and has lost, while a guard of it lives (C8).
    pub(super) fn lost_by(&self, caller: &Caller) -> Option<(Token, LostCause)> {
        let lost = self.lost.iter().rev().find(|lost| caller.counts_as(lost.owner))?;
        Some((lost.guards.first()?.1, lost.cause))
    }

    /// The hold with this guard, by its index, and the guard's index in the nest.
    pub(in crate::engine) fn find(&self, token: Token, level: u32) -> Option<(usize, usize)> {
        self.holds
            .iter()
            .enumerate()
            .find_map(|(index, hold)| Some((index, hold.position(level, token)?)))
    }

    fn release_lost(&mut self, token: Token, level: u32) -> Ended {
        for index in 0..self.lost.len() {
            let guards = &mut self.lost[index].guards;
            let Some(guard) = guards.iter().position(|guard| *guard == (level, token)) else {
                continue;
            };
            guards.swap_remove(guard);
            let cause = self.lost[index].cause;
            if self.lost[index].guards.is_empty() {
                self.lost.swap_remove(index);
            }
            return Ended::Lost(cause);
        }
        Ended::Unknown
    }
}
