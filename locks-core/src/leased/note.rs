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
            host: std::fs::read_to_string("/proc/sys/kernel/hostname")
                .map(|host| host.trim_end().to_owned())
                .unwrap_or_default(),
            process: std::env::current_exe()
                .ok()
                .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
                .unwrap_or_default(),
        })
    }
}

/// The note of a claim by `caller`: label, host, process id, process, who, call site, and the label
/// of the request. What the caller's party does not say is that of this process, unless the party
/// is on another host.
pub(super) fn write(caller: &Caller, label: &str) -> String {
    let party = caller.party.as_deref();
    let given = |part: fn(&ProcessInfo) -> Option<&String>| part(party?).cloned();
    let here = Here::get();
    let is_here = party.and_then(|party| party.host.as_ref()).is_none_or(|host| *host == here.host);
    let process = is_here.then(|| here.process.clone());
    let pid = party.and_then(|party| party.pid).or(is_here.then(std::process::id));
    [
        given(|party| party.label.as_ref()).or_else(|| Some(label.to_owned())),
        given(|party| party.host.as_ref()).or_else(|| Some(here.host.clone())),
        pid.map(|pid| pid.to_string()),
        given(|party| party.process.as_ref()).or(process),
        caller.owner.and_then(crate::OwnerId::describe),
        caller.site.map(|site| site.to_string()).or_else(|| given(|party| party.site.as_ref())),
        caller.label.as_deref().map(str::to_owned),
    ]
    .map(|part| {
        let part = part.unwrap_or_default();
        part.chars().filter(|&c| !c.is_control()).take(LONGEST_PART).collect::<String>()
    })
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
    fn c12_what_a_party_does_not_say_is_that_of_this_process() {
        let mut party = ProcessInfo { process: Some("sh".to_owned()), ..ProcessInfo::default() };
        let told = |party: &ProcessInfo| {
            let caller = Caller::polling(None).of(std::sync::Arc::new(party.clone()));
            holder_of(write(&caller, "nightly")).party
        };
        let holder = told(&party);
        assert_eq!(
            (holder.label.as_deref(), holder.process.as_deref()),
            (Some("nightly"), Some("sh"))
        );
        assert_eq!(
            (holder.pid, holder.host),
            (Some(std::process::id()), told(&ProcessInfo::default()).host)
        );
        (party.label, party.site) = (Some("own".to_owned()), Some("job.py:7".to_owned()));
        let holder = told(&party);
        assert_eq!(
            (holder.label.as_deref(), holder.site.as_deref()),
            (Some("own"), Some("job.py:7"))
        );
        // By the number of this process there is another one on that host.
        party.host = Some("elsewhere".to_owned());
        assert_eq!((told(&party).pid, told(&party).host.as_deref()), (None, Some("elsewhere")));
    }

    #[test]
    fn c12_somebody_elses_note_does_no_harm() {
        for note in ["", "free text", "\u{1f}\u{1f}x\u{1f}"] {
            assert_eq!(holder_of(note.to_owned()).party.pid, None);
        }
    }
}
