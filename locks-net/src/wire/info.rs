//! Owners, holders, waiters and keys as bytes.

use locks_core::{HolderInfo, LockInfo, LostCause, Mode, OwnerId, ProcessInfo, WaiterInfo};

use super::Malformed;
use super::bytes::{MessageReader, Put};

/// The longest name of a thread, a process, a host; in bytes, as all of these.
pub(super) const MAX_NAME: usize = 128;
/// The longest description of an owner: a name and a few words.
pub(super) const MAX_WHO: usize = 160;
/// The longest call site.
pub(super) const MAX_SITE: usize = 512;
/// The longest message for people, and the longest text in place of a key.
pub(super) const MAX_TEXT: usize = 4096;
/// So many holders, waiters and reservations are told of at most, for each key.
pub(super) const MAX_TOLD: usize = 64;

pub(super) fn put_mode(out: &mut Vec<u8>, mode: Mode) {
    match mode {
        Mode::Exclusive => out.u8(1),
        Mode::Shared => out.u8(2),
        Mode::Permit { take, of } => {
            out.u8(3);
            put_permits(out, take, of);
        }
    }
}

pub(super) fn take_mode(from: &mut MessageReader<'_>) -> Result<Mode, Malformed> {
    match from.u8()? {
        1 => Ok(Mode::Exclusive),
        2 => Ok(Mode::Shared),
        3 => take_permits(from),
        _ => Err(Malformed("no such mode")),
    }
}

pub(super) fn put_permits(out: &mut Vec<u8>, take: u32, of: u32) {
    out.u32(take);
    out.u32(of);
}

pub(super) fn take_permits(from: &mut MessageReader<'_>) -> Result<Mode, Malformed> {
    let (take, of) = (from.u32()?, from.u32()?);
    match take {
        0 => Err(Malformed("no permits")),
        take if take > of => Err(Malformed("more permits than there are")),
        take => Ok(Mode::Permit { take, of }),
    }
}

pub(super) fn put_cause(out: &mut Vec<u8>, cause: LostCause) {
    out.u8(match cause {
        LostCause::Stolen => 1,
        LostCause::HeldTooLong => 2,
        LostCause::Expired => 3,
        LostCause::Evicted => 4,
        LostCause::SessionEnded => 5,
        LostCause::Replaced => 6,
        // Also what this version has no number for.
        _ => 7,
    });
}

pub(super) fn take_cause(from: &mut MessageReader<'_>) -> Result<LostCause, Malformed> {
    Ok(match from.u8()? {
        1 => LostCause::Stolen,
        2 => LostCause::HeldTooLong,
        3 => LostCause::Expired,
        4 => LostCause::Evicted,
        5 => LostCause::SessionEnded,
        6 => LostCause::Replaced,
        7 => LostCause::Forgotten,
        _ => return Err(Malformed("no such cause of a loss")),
    })
}

/// Without its realm: what a client says is about its own session.
pub(super) fn put_own(out: &mut Vec<u8>, owner: OwnerId) {
    let (_, kind, number) = owner.to_parts();
    out.u8(kind);
    out.u64(number);
}

pub(super) fn take_own(from: &mut MessageReader<'_>) -> Result<OwnerId, Malformed> {
    let owner = take_owner(from, 0)?;
    // Lists show it to those who do not know it itself.
    if owner.is_shared() {
        Err(Malformed("the id of a shared owner is not the owner"))
    } else {
        Ok(owner)
    }
}

fn take_owner(from: &mut MessageReader<'_>, realm: u32) -> Result<OwnerId, Malformed> {
    let (kind, number) = (from.u8()?, from.u64()?);
    OwnerId::from_parts(realm, kind, number).ok_or(Malformed("no such kind of owner"))
}

fn put_foreign(out: &mut Vec<u8>, owner: OwnerId) {
    out.u32(owner.to_parts().0);
    put_own(out, owner);
}

fn take_foreign(from: &mut MessageReader<'_>) -> Result<OwnerId, Malformed> {
    let realm = from.u32()?;
    take_owner(from, realm)
}

/// `site` is what stands there in place of the party's own.
pub(super) fn put_party(out: &mut Vec<u8>, party: &ProcessInfo, site: Option<&str>) {
    let ProcessInfo { label, host, pid, process, .. } = party;
    out.flags([label.is_some(), host.is_some(), pid.is_some(), process.is_some(), site.is_some()]);
    put_text(out, label.as_deref(), MAX_NAME);
    put_text(out, host.as_deref(), MAX_NAME);
    if let Some(pid) = *pid {
        out.u32(pid);
    }
    put_text(out, process.as_deref(), MAX_NAME);
    put_text(out, site, MAX_SITE);
}

pub(super) fn take_party(from: &mut MessageReader<'_>) -> Result<ProcessInfo, Malformed> {
    let [label, host, pid, process, site] = from.flags()?;
    let mut party = ProcessInfo::default();
    party.label = from.if_set(label, |from| from.text(MAX_NAME))?;
    party.host = from.if_set(host, |from| from.text(MAX_NAME))?;
    party.pid = from.if_set(pid, MessageReader::u32)?;
    party.process = from.if_set(process, |from| from.text(MAX_NAME))?;
    party.site = from.if_set(site, |from| from.text(MAX_SITE))?;
    Ok(party)
}

pub(super) fn put_text(out: &mut Vec<u8>, text: Option<&str>, max: usize) {
    if let Some(text) = text {
        out.text(text, max);
    }
}

pub(super) fn put_holder(out: &mut Vec<u8>, holder: &HolderInfo) {
    let HolderInfo { mode, token, owner, who, label, depth, party, age, .. } = holder;
    out.flags([
        token.is_some(),
        owner.is_some(),
        who.is_some(),
        age.is_some(),
        label.is_some(),
        *depth > 1,
    ]);
    put_mode(out, *mode);
    if let Some(token) = *token {
        out.token(token);
    }
    if let Some(owner) = *owner {
        put_foreign(out, owner);
    }
    put_text(out, who.as_deref(), MAX_WHO);
    if let Some(age) = *age {
        out.duration(age);
    }
    put_text(out, label.as_deref(), MAX_NAME);
    if *depth > 1 {
        out.u32(u32::try_from(*depth).unwrap_or(u32::MAX));
    }
    let site = holder.site.map(|site| site.to_string());
    put_party(out, party, site.as_deref().or(party.site.as_deref()));
}

pub(super) fn take_holder(from: &mut MessageReader<'_>) -> Result<HolderInfo, Malformed> {
    let [token, owner, who, age, label, is_nest] = from.flags()?;
    let mut holder = HolderInfo::new(take_mode(from)?);
    holder.token = from.if_set(token, MessageReader::token)?;
    holder.owner = from.if_set(owner, take_foreign)?;
    holder.who = from.if_set(who, |from| from.text(MAX_WHO))?;
    holder.age = from.if_set(age, MessageReader::duration)?;
    holder.label = from.if_set(label, |from| from.text(MAX_NAME))?;
    if is_nest {
        holder.depth = match from.u32()? {
            0 | 1 => return Err(Malformed("a nest of one guard")),
            depth => depth as usize,
        };
    }
    holder.party = take_party(from)?;
    Ok(holder)
}

pub(super) fn put_waiter(out: &mut Vec<u8>, waiter: &WaiterInfo) {
    let WaiterInfo { mode, owner, who, label, party, waited, .. } = waiter;
    out.flags([owner.is_some(), who.is_some(), label.is_some()]);
    put_mode(out, *mode);
    if let Some(owner) = *owner {
        put_foreign(out, owner);
    }
    put_text(out, who.as_deref(), MAX_WHO);
    out.duration(*waited);
    put_text(out, label.as_deref(), MAX_NAME);
    let site = waiter.site.map(|site| site.to_string());
    put_party(out, party, site.as_deref().or(party.site.as_deref()));
}

pub(super) fn take_waiter(from: &mut MessageReader<'_>) -> Result<WaiterInfo, Malformed> {
    let [owner, who, label] = from.flags()?;
    let mut waiter = WaiterInfo::new(take_mode(from)?, std::time::Duration::ZERO);
    waiter.owner = from.if_set(owner, take_foreign)?;
    waiter.who = from.if_set(who, |from| from.text(MAX_WHO))?;
    waiter.waited = from.duration()?;
    waiter.label = from.if_set(label, |from| from.text(MAX_NAME))?;
    waiter.party = take_party(from)?;
    Ok(waiter)
}

/// The fewest bytes that a holder, and a waiter, can take: flags, mode, flags of the party.
pub(super) const LEAST_HOLDER: usize = 3;
pub(super) const LEAST_WAITER: usize = LEAST_HOLDER + 8;

pub(super) fn put_holders(out: &mut Vec<u8>, holders: &[HolderInfo]) {
    out.list(holders, MAX_TOLD, put_holder);
}

pub(super) fn take_holders(from: &mut MessageReader<'_>) -> Result<Vec<HolderInfo>, Malformed> {
    from.list(MAX_TOLD, LEAST_HOLDER, take_holder)
}

pub(super) fn put_waiters(out: &mut Vec<u8>, waiters: &[WaiterInfo]) {
    out.list(waiters, MAX_TOLD, put_waiter);
}

pub(super) fn take_waiters(from: &mut MessageReader<'_>) -> Result<Vec<WaiterInfo>, Malformed> {
    from.list(MAX_TOLD, LEAST_WAITER, take_waiter)
}

pub(super) fn put_info(out: &mut Vec<u8>, info: &LockInfo) {
    let LockInfo { key, holders, waiters, reserved_for, reserved_by, .. } = info;
    out.flags([reserved_for.is_some()]);
    out.key(key);
    put_holders(out, holders);
    put_waiters(out, waiters);
    if let Some(left) = *reserved_for {
        out.duration(left);
    }
    out.list(reserved_by, MAX_TOLD, |out, &token| out.token(token));
}

/// As it is now: what of it counts back from `at` does so from here.
pub(super) fn take_info(from: &mut MessageReader<'_>) -> Result<LockInfo, Malformed> {
    let [reserved] = from.flags()?;
    let mut info = LockInfo::new(from.key()?);
    info.holders = take_holders(from)?;
    info.waiters = take_waiters(from)?;
    info.reserved_for = from.if_set(reserved, MessageReader::duration)?;
    info.reserved_by = from.list(MAX_TOLD, 8, MessageReader::token)?;
    Ok(info)
}

/// The fewest bytes that a key's entry can take: flags, the key, three counts.
pub(super) const LEAST_INFO: usize = 1 + 3 + 3 * 4;
