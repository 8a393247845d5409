//! What identities are called (C12).

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;

use crate::fork::PerProcess;
use crate::sync::plain::{Mutex, MutexGuard};

use super::{OwnerId, OwnerKind};

/// The names of threads that have asked for locks and still run. A forked child has only one, which
/// need not have asked yet.
static THREAD_NAMES: PerProcess<Mutex<HashMap<u64, String>>> = PerProcess::new();

fn thread_names() -> MutexGuard<'static, HashMap<u64, String>> {
    THREAD_NAMES.get_or_init(Mutex::default).lock()
}

thread_local! {
    static NAMED: Named = const { Named(Cell::new(0)) };
}

/// Takes the thread's name off the list when the thread ends.
struct Named(Cell<u64>);

impl Drop for Named {
    fn drop(&mut self) {
        thread_names().remove(&self.0.get());
    }
}

/// Puts the name of this thread, which has this number from now on, on the list.
pub(super) fn note(number: u64) {
    // A thread that is ending has no name any more, and needs none.
    let _ = NAMED.try_with(|named| {
        if let Some(name) = std::thread::current().name() {
            thread_names().insert(number, name.to_owned());
            named.0.set(number);
        }
    });
}

impl OwnerId {
    /// What it calls itself, where that tells a person something. Whose it is, if it is of another
    /// realm, is for the [`ProcessInfo`](crate::ProcessInfo) to say.
    #[doc(hidden)]
    pub fn describe(self) -> Option<String> {
        (self.kind != OwnerKind::Acquisition).then(|| Name(self).to_string())
    }

    /// Known of threads of this process only.
    fn thread_name(self) -> Option<String> {
        // Copied, so that nobody's code runs with the list locked.
        if self.realm == 0 { thread_names().get(&self.number).cloned() } else { None }
    }
}

/// What an identity is called within its realm.
struct Name(OwnerId);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0.number;
        match self.0.kind {
            OwnerKind::Thread => match self.0.thread_name() {
                Some(name) => write!(f, "thread `{name}`"),
                None => write!(f, "thread {number}"),
            },
            OwnerKind::Scope => write!(f, "scope {number}"),
            OwnerKind::Acquisition => write!(f, "acquisition {number}"),
            OwnerKind::Explicit => write!(f, "owner {number}"),
            OwnerKind::Unique => write!(f, "owner #{number}"),
            OwnerKind::Shared => write!(f, "shared owner {number:016x}"),
        }
    }
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Name(*self).fmt(f)?;
        match self.realm {
            0 => Ok(()),
            realm => write!(f, " of client {realm}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::super::{Scope, current};
    use super::*;

    #[test]
    fn c12_an_owner_says_what_it_is() {
        assert_eq!(OwnerId::from(42).to_string(), "owner 42");
        let unique = OwnerId::unique();
        assert_eq!(unique.to_string(), format!("owner #{}", unique.number));
        let scope = Scope::open();
        assert_eq!(scope.owner().to_string(), format!("scope {}", scope.number));
        assert_eq!(OwnerId::acquisition().describe(), None, "it says nothing to anybody else");
    }

    #[test]
    fn c12_an_owner_of_another_realm_leaves_it_to_its_party_whose_it_is() {
        let here = [current(), Scope::open().owner(), OwnerId::from(42), OwnerId::unique()];
        let there = here.map(|owner| owner.in_realm(3).describe().unwrap());
        let [thread, scope, explicit, unique] = here.map(|owner| owner.number);
        let names = [
            format!("thread {thread}"),
            format!("scope {scope}"),
            format!("owner {explicit}"),
            format!("owner #{unique}"),
        ];
        assert_eq!(there, names);
        assert_eq!(OwnerId::acquisition().in_realm(3).describe(), None);
    }

    #[test]
    fn c12_a_thread_has_its_name_while_it_runs() {
        let named = thread::Builder::new().name("worker-3".into());
        let run = || (current(), current().to_string(), current().in_realm(2).to_string());
        let (owner, name, elsewhere) = named.spawn(run).unwrap().join().unwrap();
        assert_eq!(name, "thread `worker-3`");
        assert_eq!(elsewhere, format!("thread {} of client 2", owner.number));
        assert_eq!(owner.to_string(), format!("thread {}", owner.number), "its name is forgotten");
        let (owner, name, _) = thread::spawn(run).join().unwrap();
        assert_eq!(name, format!("thread {}", owner.number));
    }
}
