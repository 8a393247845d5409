//! Which locks are shown, and in which order: for `locks ls`, and for the page of
//! `locks serve --http`.

use std::cmp::{Ordering, Reverse};
use std::time::Duration;

use locks::{LockInfo, ProcessInfo};

use super::person;

/// What is to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// A text in the name of the key, or of a holder or waiter; letter case does not matter.
    pub(crate) text: Option<String>,
    pub(crate) state: Option<State>,
    pub(crate) sort: Sort,
    /// The other way round.
    pub(crate) reverse: bool,
}

/// How it is with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Keys with a holder.
    Held,
    /// Keys with a waiter.
    Waited,
    /// Keys that are reserved without a holder.
    Reserved,
}

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    /// By the bytes of the key.
    #[default]
    Key,
    /// Those that have been held for longest.
    Age,
    /// Those for which most wait.
    Waiters,
    /// By the longest wait.
    Waited,
    /// By the holder's name.
    Holder,
}

impl Sort {
    pub(crate) const NAMES: [&str; 5] = ["key", "age", "waiters", "waited", "holder"];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "key" => Self::Key,
            "age" => Self::Age,
            "waiters" => Self::Waiters,
            "waited" => Self::Waited,
            "holder" => Self::Holder,
            _ => return None,
        })
    }
}

impl State {
    pub(crate) const NAMES: [&str; 3] = ["held", "waited", "reserved"];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "held" => Self::Held,
            "waited" => Self::Waited,
            "reserved" => Self::Reserved,
            _ => return None,
        })
    }

    fn is_of(self, lock: &LockInfo) -> bool {
        match self {
            Self::Held => !lock.holders.is_empty(),
            Self::Waited => !lock.waiters.is_empty(),
            Self::Reserved => lock.reserved_for.is_some(),
        }
    }
}

impl Selection {
    /// The chosen ones of `locks`, in order.
    pub(crate) fn of<'a>(&self, locks: &'a [LockInfo]) -> Vec<&'a LockInfo> {
        let text = self.text.as_deref().filter(|text| !text.is_empty()).map(str::to_lowercase);
        let has_state = |lock: &LockInfo| self.state.is_none_or(|state| state.is_of(lock));
        let has_text = |lock: &LockInfo| text.as_deref().is_none_or(|text| is_about(lock, text));
        let mut chosen =
            locks.iter().filter(|lock| has_state(lock) && has_text(lock)).collect::<Vec<_>>();
        match self.sort {
            Sort::Key => chosen.sort_by(|one, other| one.key.cmp(&other.key)),
            Sort::Age => sort_by(&mut chosen, |lock| Reverse(age(lock))),
            Sort::Waiters => sort_by(&mut chosen, |lock| Reverse(lock.waiters.len())),
            Sort::Waited => sort_by(&mut chosen, |lock| Reverse(waited(lock))),
            Sort::Holder => sort_by(&mut chosen, holder),
        }
        if self.reverse {
            chosen.reverse();
        }
        chosen
    }
}

/// Those that are equal in that come by key.
fn sort_by<T: Ord>(locks: &mut [&LockInfo], by: impl Fn(&LockInfo) -> T) {
    let mut keyed = locks.iter().map(|lock| (by(lock), *lock)).collect::<Vec<_>>();
    keyed.sort_by(|(one, lock), (other, rival)| match one.cmp(other) {
        Ordering::Equal => lock.key.cmp(&rival.key),
        unequal => unequal,
    });
    locks.iter_mut().zip(keyed).for_each(|(lock, (_, sorted))| *lock = sorted);
}

/// How long it has been held by the first of those who hold it.
pub(crate) fn age(lock: &LockInfo) -> Option<Duration> {
    lock.holders.iter().filter_map(|holder| holder.age).max()
}

/// The longest wait for it.
pub(crate) fn waited(lock: &LockInfo) -> Option<Duration> {
    lock.waiters.iter().map(|waiter| waiter.waited).max()
}

/// Keys without a holder come last.
fn holder(lock: &LockInfo) -> (bool, String) {
    let Some(first) = lock.holders.first() else { return (true, String::new()) };
    let ProcessInfo { label, process, pid, .. } = &first.party;
    let name = label.as_ref().or(process.as_ref()).cloned().unwrap_or_default();
    (false, format!("{} {:>10}", name.to_lowercase(), pid.unwrap_or_default()))
}

/// Returns `true` if `text`, which is in small letters, is in the name of the key, a holder or a
/// waiter.
fn is_about(lock: &LockInfo, text: &str) -> bool {
    let has = |name: &str| name.to_lowercase().contains(text);
    let is_known = |party: &ProcessInfo, who: Option<&str>, site: Option<String>| {
        let ProcessInfo { label, host, process, pid, .. } = party;
        let names = [label.as_deref(), host.as_deref(), process.as_deref(), who, site.as_deref()];
        names.into_iter().flatten().any(has) || pid.is_some_and(|pid| pid.to_string() == text)
    };
    has(&lock.key)
        || lock.holders.iter().any(|holder| {
            is_known(&holder.party, holder.who.as_deref(), person::holder_site(holder))
        })
        || lock.waiters.iter().any(|waiter| {
            is_known(&waiter.party, waiter.who.as_deref(), person::waiter_site(waiter))
        })
}

#[cfg(test)]
mod tests {
    use locks::{HolderInfo, Mode, WaiterInfo};

    use super::*;

    fn lock(key: &str, age: u64, waits: &[u64], label: &str) -> LockInfo {
        let mut held = HolderInfo::new(Mode::Exclusive);
        held.age = Some(Duration::from_secs(age));
        held.party.label = Some(label.to_owned());
        let mut info = LockInfo::new(key);
        info.holders.push(held);
        let wait = |seconds: &u64| WaiterInfo::new(Mode::Shared, Duration::from_secs(*seconds));
        info.waiters = waits.iter().map(wait).collect();
        info
    }

    fn keys(selection: &Selection, locks: &[LockInfo]) -> String {
        selection.of(locks).iter().map(|lock| lock.key.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn locks_come_in_the_order_that_was_asked_for_and_then_by_key() {
        let mut reserved = LockInfo::new("c");
        reserved.reserved_for = Some(Duration::from_secs(1));
        let locks = [
            lock("b", 5, &[1], "Zoe"),
            lock("a", 5, &[], "adam"),
            reserved,
            lock("d", 9, &[9, 2], "eve"),
        ];
        for (sort, expected) in [
            (Sort::Key, "a b c d"),
            (Sort::Age, "d a b c"),
            (Sort::Waiters, "d b a c"),
            (Sort::Waited, "d b a c"),
            (Sort::Holder, "a d b c"),
        ] {
            let mut selection = Selection { sort, ..Selection::default() };
            assert_eq!(keys(&selection, &locks), expected, "{sort:?}");
            selection.reverse = true;
            let reversed = expected.split(' ').rev().collect::<Vec<_>>().join(" ");
            assert_eq!(keys(&selection, &locks), reversed, "{sort:?}");
        }
    }

    #[test]
    fn locks_are_found_by_key_by_name_by_number_and_by_state() {
        let mut third = lock("c", 1, &[], "x");
        third.holders[0].party.pid = Some(4711);
        third.holders[0].party.site = Some("src/Jobs.rs:7".to_owned());
        let mut reserved = LockInfo::new("d");
        reserved.reserved_for = Some(Duration::from_secs(1));
        let locks =
            [lock("ä/Invoice", 1, &[], "x"), lock("b", 1, &[3], "Billing"), third, reserved];
        let found = |text: &str, state| {
            let text = Some(text.to_owned());
            keys(&Selection { text, state, ..Selection::default() }, &locks)
        };
        for (text, expected) in [
            ("invoice", "ä/Invoice"),
            ("Ä", "ä/Invoice"),
            ("billing", "b"),
            ("4711", "c"),
            ("471", ""),
            ("jobs.rs", "c"),
            ("", "b c d ä/Invoice"),
        ] {
            assert_eq!(found(text, None), expected, "{text}");
        }
        assert_eq!(found("", Some(State::Waited)), "b");
        assert_eq!(found("", Some(State::Reserved)), "d");
        assert_eq!(found("x", Some(State::Held)), "c ä/Invoice");
        for name in Sort::NAMES {
            assert!(Sort::parse(name).is_some(), "{name}");
        }
        for name in State::NAMES {
            assert!(State::parse(name).is_some(), "{name}");
        }
    }
}
