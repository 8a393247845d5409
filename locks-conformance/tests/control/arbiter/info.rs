//! C12: what the arbiter tells.

use std::collections::BTreeSet;

use locks_core::{ErrorKind, HolderInfo, LockError, LockInfo, Mode, Query, Token, WaiterInfo};

use super::Defect;
use super::state::{Ask, State};

/// What a key that a set has on its way goes by, as long as there is no token for it.
pub(super) const fn turn(id: u64) -> Token {
    Token::new(u64::MAX - id)
}

impl State {
    pub(super) fn holder_info(&self, ask: &Ask) -> HolderInfo {
        let mut info = HolderInfo::new(ask.options.mode);
        info.token = Some(ask.held().map_or(turn(ask.id), |held| held.token));
        if self.has(Defect::ListedTokenIsAnother) {
            info.token = Some(Token::new(self.last_token + 1));
        }
        if self.has(Defect::ListsEverythingExclusive) {
            info.mode = Mode::Exclusive;
        }
        info.owner = ask.caller.owner;
        info.who = ask.who.clone().filter(|_| !self.has(Defect::ScopesUnnamed));
        info.site = ask.caller.site;
        info.label = self.label(ask);
        info.depth = self.asks.values().filter(|other| other.nest == ask.nest).count();
        if self.has(Defect::DepthUnknown) {
            info.depth = 1;
        }
        info.age = ask.held().map(|held| self.now - held.since);
        info
    }

    pub(super) fn waiter_info(&self, ask: &Ask) -> WaiterInfo {
        let mut info = WaiterInfo::new(ask.options.mode, self.now - ask.arrived);
        info.owner = ask.caller.owner;
        info.who = ask.who.clone();
        info.site = ask.caller.site;
        info.label = self.label(ask);
        info
    }

    fn label(&self, ask: &Ask) -> Option<String> {
        let label = ask.caller.label.as_ref().map(|label| label.to_string());
        label.filter(|_| !self.has(Defect::LabelsForgotten))
    }

    /// The error of a request that waits, and of who is in its way.
    pub(super) fn error(&self, kind: ErrorKind, id: u64) -> LockError {
        let ask = &self.asks[&id];
        let key = ask.wants().unwrap_or(&ask.keys[0]);
        let error = LockError::new(kind, key);
        if self.has(Defect::ErrorsNameNobody) {
            return error;
        }
        let info = self.info(key, id);
        error
            .with_waited(self.now - ask.arrived)
            .with_holders(info.holders)
            .with_waiters(info.waiters)
            .with_reserved_for(info.reserved_for)
    }

    pub(super) fn list(&self, query: &Query) -> Vec<LockInfo> {
        let any = self.has(Defect::ListIgnoresQuery);
        let mut keys = BTreeSet::new();
        for ask in self.asks.values() {
            keys.extend(ask.keys.iter().filter(|key| ask.occupies(key)).map(String::as_str));
            keys.extend(ask.wants());
        }
        keys.extend(self.reserved.iter().map(|reserved| reserved.key.as_str()));
        keys.extend(self.remembered.iter().map(String::as_str));
        keys.into_iter()
            .filter(|key| any || query.matches(key))
            .map(|key| self.info(key, 0))
            .collect()
    }

    /// Everybody at `key` but `asking`.
    fn info(&self, key: &str, asking: u64) -> LockInfo {
        let others = || self.asks.values().filter(|ask| ask.id != asking);
        let mut info = LockInfo::new(key);
        let holders = others().filter(|ask| ask.occupies(key));
        info.holders = holders.map(|ask| self.holder_info(ask)).collect();
        let waiters = others().filter(|ask| ask.wants() == Some(key));
        info.waiters = waiters.map(|ask| self.waiter_info(ask)).collect();
        if self.has(Defect::ListOmitsWaiters) {
            info.waiters.clear();
        }
        if self.has(Defect::ListReversed) {
            info.waiters.reverse();
        }
        let reserved = self.reserved.iter().filter(|reserved| reserved.key == key);
        info.reserved_for = reserved.clone().map(|reserved| reserved.until - self.now).max();
        info.reserved_by = reserved.map(|reserved| reserved.token).collect();
        info
    }
}
