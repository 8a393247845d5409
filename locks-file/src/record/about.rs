use std::time::Duration;

use locks_core::{Caller, HolderInfo, Mode, Party, Token};

use super::Entry;
use crate::kernel::{Nanos, Process};

/// Between the parts of what a record says of a holder; no part contains it.
const PART: char = '\t';
/// Longer parts are cut off: they are for people.
const LONGEST: usize = 120;

/// Who holds, and where in its program: label, process, who in it, call site.
#[derive(Clone, Debug)]
pub(crate) struct About(String);

impl About {
    /// What to write of `caller`.
    pub(crate) fn new(caller: &Caller, label: &str, process: &Process) -> Self {
        let mut text = String::with_capacity(96);
        let party = caller.party.as_deref();
        let given =
            |part: fn(&Party) -> &Option<String>| party.and_then(|party| part(party).as_deref());
        push(&mut text, given(|party| &party.label).unwrap_or(label));
        text.push(PART);
        push(&mut text, given(|party| &party.process).unwrap_or(&process.name));
        text.push(PART);
        if let Some(owner) = caller.owner {
            push(&mut text, &owner.to_string());
        }
        text.push(PART);
        match (caller.site, given(|party| &party.site)) {
            (Some(site), _) => push(&mut text, &site.to_string()),
            (None, Some(site)) => push(&mut text, site),
            (None, None) => {}
        }
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn push(text: &mut String, part: &str) {
    text.extend(part.chars().filter(|c| !c.is_control()).take(LONGEST));
}

/// The holder that an entry tells of.
pub(crate) fn describe(entry: &Entry<'_>, now: Nanos) -> HolderInfo {
    let mut parts = entry.about.split(PART).map(|part| (!part.is_empty()).then(|| part.to_owned()));
    let mut next = || parts.next().flatten();
    let mut holder = HolderInfo::new(entry.mode());
    holder.token = Some(Token::new(entry.token));
    holder.party.label = next();
    holder.party.process = next();
    holder.party.pid = Some(entry.pid);
    holder.who = next();
    holder.party.site = next();
    holder.age = (entry.since > 0).then(|| Duration::from_nanos(now.saturating_sub(entry.since)));
    holder
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
