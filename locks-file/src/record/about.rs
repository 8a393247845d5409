use std::fmt::{self, Write as _};
use std::time::Duration;

use locks_core::{Caller, HolderInfo, Mode, OwnerId, ProcessInfo, Token};

use super::Entry;
use crate::kernel::{Nanos, Process};

/// Between the parts of what a record says of a holder; no part contains it.
const PART: char = '\t';
/// Longer parts are cut off: they are for people.
const LONGEST: usize = 120;

/// Who holds, and where in its program: label, process, who in it, call site, and what the request
/// is labelled.
#[derive(Clone, Debug)]
pub(crate) struct HolderText(String);

impl HolderText {
    /// What to write of `caller`.
    pub(crate) fn new(caller: &Caller, label: &str, process: &Process) -> Self {
        let party = caller.party.as_deref();
        let given = |part: fn(&ProcessInfo) -> &Option<String>| {
            party.and_then(|party| part(party).as_deref())
        };
        let mut parts = Parts { text: String::with_capacity(128), begins: 0 };
        let _ = parts.write_str(given(|party| &party.label).unwrap_or(label));
        parts.end();
        let _ = parts.write_str(given(|party| &party.process).unwrap_or(&process.name));
        parts.end();
        if let Some(who) = caller.owner.and_then(OwnerId::describe) {
            let _ = parts.write_str(&who);
        }
        parts.end();
        match (caller.site, given(|party| &party.site)) {
            (Some(site), _) => drop(write!(parts, "{site}")),
            (None, Some(site)) => drop(parts.write_str(site)),
            (None, None) => {}
        }
        if let Some(label) = &caller.label {
            parts.end();
            let _ = parts.write_str(label);
        }
        Self(parts.text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Parts being written: without control characters, and not too long. Writing does not fail.
struct Parts {
    text: String,
    /// Where the present one begins.
    begins: usize,
}

impl Parts {
    fn end(&mut self) {
        self.text.push(PART);
        self.begins = self.text.len();
    }
}

impl fmt::Write for Parts {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = LONGEST.saturating_sub(self.text.len() - self.begins);
        if part.len() <= room && !part.bytes().any(|byte| byte.is_ascii_control()) {
            self.text.push_str(part);
        } else {
            let mut room = room;
            self.text.extend(part.chars().filter(|c| !c.is_control()).take_while(|c| {
                let fits = c.len_utf8() <= room;
                room = room.saturating_sub(c.len_utf8());
                fits
            }));
        }
        Ok(())
    }
}

/// The holder that an entry tells of.
pub(crate) fn describe(entry: &Entry<'_>, now: Nanos) -> HolderInfo {
    let mut holder = HolderInfo::new(entry.mode());
    holder.token = Some(Token::new(entry.token));
    (holder.party, holder.who, holder.label) = tell(entry.about, entry.pid);
    holder.age = (entry.since > 0).then(|| Duration::from_nanos(now.saturating_sub(entry.since)));
    holder
}

/// The process, who in it, and the label of the request, that a text of [`HolderText`] tells of.
pub(crate) fn tell(about: &str, pid: u32) -> (ProcessInfo, Option<String>, Option<String>) {
    let mut parts = about.split(PART).map(|part| (!part.is_empty()).then(|| part.to_owned()));
    let mut next = || parts.next().flatten();
    let mut party = ProcessInfo::default();
    party.label = next();
    party.process = next();
    party.pid = Some(pid);
    let who = next();
    party.site = next();
    (party, who, next())
}

/// Somebody of whom only the kernel tells.
pub(crate) fn stranger(pid: u32, exclusive: bool) -> HolderInfo {
    let mode = if exclusive { Mode::Exclusive } else { Mode::Shared };
    let mut holder = HolderInfo::new(mode);
    holder.party.pid = Some(pid);
    holder.party.process = std::fs::read_to_string(format!("/proc/{pid}/comm"))
        .ok()
        .map(|name| name.trim_end().to_owned());
    holder
}
