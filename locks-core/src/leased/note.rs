//! What others are told of a holder: written into the store by whoever holds, read by whoever
//! finds the key taken.

use crate::fork::PerProcess;
use crate::{Caller, HolderInfo, LeaseEntry, ProcessInfo, WaiterInfo};

/// Between the parts of a note; no name contains it.
const PART: char = '\u{1f}';
/// Longer parts are cut off: a note is for people.
const LONGEST_PART: usize = 120;

/// Where this process runs and what it is called.
struct Here {
    host: String,
    process: String,
}

impl Here {
    fn get() -> &'static Self {
        static HERE: PerProcess<Here> = PerProcess::new();
        HERE.get_or_init(|| Here {
            host: std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default(),
            process: std::env::current_exe()
                .ok()
                .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
                .unwrap_or_default(),
        })
    }
}

/// The note of a claim by `caller`: label, host, process id, process, who, call site, and the label
/// of the request. What a party does not say of itself is as with this process, which asks for it.
pub(super) fn write(caller: &Caller, label: &str) -> String {
    let (party, here) = (caller.party.as_deref(), Here::get());
    let given = |part: fn(&ProcessInfo) -> Option<&String>, here: &str| {
        party.and_then(part).map_or_else(|| here.to_owned(), Clone::clone)
    };
    let pid = party.and_then(|party| party.pid).unwrap_or_else(std::process::id);
    [
        given(|party| party.label.as_ref(), label),
        given(|party| party.host.as_ref(), &here.host),
        pid.to_string(),
        given(|party| party.process.as_ref(), &here.process),
        caller.owner.and_then(crate::OwnerId::describe).unwrap_or_default(),
        caller.site.map(|site| site.to_string()).unwrap_or_default(),
        caller.label.as_deref().unwrap_or_default().to_owned(),
    ]
    .map(|part| part.chars().filter(|&c| !c.is_control()).take(LONGEST_PART).collect::<String>())
    .join(&PART.to_string())
}

/// The holder that an entry of the store tells of. A note that is not ours says nothing.
pub(super) fn holder(entry: &LeaseEntry) -> HolderInfo {
    let (party, who, label) = read(&entry.note);
    HolderInfo {
        token: Some(entry.token).filter(|token| token.get() > 0),
        age: entry.age,
        party,
        who,
        label,
        ..HolderInfo::new(entry.mode)
    }
}

/// The waiter that an entry of the store tells of.
pub(super) fn waiter(entry: &LeaseEntry) -> WaiterInfo {
    let (party, who, label) = read(&entry.note);
    WaiterInfo { party, who, label, ..WaiterInfo::new(entry.mode, entry.age.unwrap_or_default()) }
}

fn read(note: &str) -> (ProcessInfo, Option<String>, Option<String>) {
    let mut parts = note.split(PART).map(|part| (!part.is_empty()).then(|| part.to_owned()));
    let mut next = || parts.next().flatten();
    let mut party = ProcessInfo {
        label: next(),
        host: next(),
        pid: next().and_then(|pid| pid.parse().ok()),
        process: next(),
        site: None,
        unseen: false,
    };
    let who = next();
    party.site = next();
    (party, who, next())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{AcquisitionId, CallSite, Token};

    fn holder_of(note: String) -> HolderInfo {
        let mut entry =
            LeaseEntry::new("k", AcquisitionId::unique(), Token::new(3), Duration::ZERO);
        entry.note = note;
        holder(&entry)
    }

    #[test]
    fn c12_a_note_says_who_and_where() {
        let caller =
            Caller::blocking(None).at(CallSite::caller()).labelled(Some("order 17".into()));
        let holder = holder_of(write(&caller, "billing\n\u{1f}"));
        assert_eq!(holder.party.label.as_deref(), Some("billing"));
        assert_eq!(holder.party.pid, Some(std::process::id()));
        assert!(holder.party.site.unwrap().contains("note.rs:"));
        assert!(holder.who.unwrap().starts_with("thread"));
        assert_eq!(holder.token, Some(Token::new(3)));
        assert_eq!(holder.label.as_deref(), Some("order 17"));
    }

    /// As the hold of a transaction of PostgreSQL, which the library has not granted.
    #[test]
    fn c12_a_hold_without_a_token_has_none() {
        let id = AcquisitionId::unique();
        let entry = LeaseEntry::new("k", id, Token::new(0), Duration::ZERO);
        assert_eq!(holder(&entry).token, None);
    }

    #[test]
    fn c12_what_a_party_leaves_out_is_as_with_its_process() {
        let mut party = ProcessInfo { process: Some("nightly".into()), ..ProcessInfo::default() };
        let caller = Caller::blocking(None).of(party.clone().into());
        let told = holder_of(write(&caller, "billing")).party;
        assert_eq!(told.process.as_deref(), Some("nightly"));
        assert_eq!(told.label.as_deref(), Some("billing"));
        assert_eq!(told.pid, Some(std::process::id()));
        assert_eq!(told.host.as_deref().unwrap_or_default(), Here::get().host.trim());
        (party.label, party.pid) = (Some("theirs".into()), Some(7));
        let told = holder_of(write(&Caller::blocking(None).of(party.into()), "billing")).party;
        assert_eq!((told.label.as_deref(), told.pid), (Some("theirs"), Some(7)));
    }

    #[test]
    fn c12_somebody_elses_note_does_no_harm() {
        for note in ["", "free text", "\u{1f}\u{1f}x\u{1f}"] {
            assert_eq!(holder_of(note.to_owned()).party.pid, None);
        }
    }
}
