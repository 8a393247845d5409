//! Who is behind a hold or a wait, beyond what the backend knows.

use locks::{HolderInfo, Mode, ProcessInfo, WaiterInfo};

use crate::quoted::quoted;

/// The command line of the party's process, where that runs on this machine and lets us look.
pub(crate) fn command(party: &ProcessInfo) -> Option<String> {
    // The number means nothing on another machine, or in another pid namespace.
    if party.unseen || party.host.as_deref().is_some_and(|host| !is_local(host)) {
        return None;
    }
    let line = std::fs::read(format!("/proc/{}/cmdline", party.pid?)).ok()?;
    let words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect::<Vec<_>>();
    let words = words.strip_suffix(&["".into()]).unwrap_or(&words);
    let line = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then_some(line)
}

/// The name of the mode in JSON and in the table.
pub(crate) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Exclusive => "exclusive",
        Mode::Shared => "shared",
        Mode::Permit { .. } => "permit",
    }
}

/// How many permits it has, and of how many.
pub(crate) fn permits(mode: Mode) -> Option<(u32, u32)> {
    match mode {
        Mode::Permit { take, of } => Some((take, of)),
        Mode::Exclusive | Mode::Shared => None,
    }
}

/// Where a holder acquired its lock.
pub(crate) fn holder_site(holder: &HolderInfo) -> Option<String> {
    holder.site.map(|site| site.to_string()).or_else(|| holder.party.site.clone())
}

/// Where a waiter asked for its lock.
pub(crate) fn waiter_site(waiter: &WaiterInfo) -> Option<String> {
    waiter.site.map(|site| site.to_string()).or_else(|| waiter.party.site.clone())
}

/// Whether it is the name of this machine.
pub(crate) fn is_local(host: &str) -> bool {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.is_ok_and(|name| name.trim() == host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_of_this_process_is_known_and_that_of_another_machine_is_not() {
        let mut party = ProcessInfo::default();
        assert_eq!(command(&party), None);
        party.pid = Some(std::process::id());
        assert!(command(&party).is_some());
        party.unseen = true;
        assert_eq!(command(&party), None, "by that number there is somebody else here");
        party.unseen = false;
        party.host = Some("no such host, I hope".into());
        assert_eq!(command(&party), None);
    }
}
