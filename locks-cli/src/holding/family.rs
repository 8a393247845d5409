//! Where a process stands among the others.

use rustix::process::{Pid, getpgrp, getpid};

struct Ancestry {
    parent: i32,
    group: i32,
    session: i32,
}

impl Ancestry {
    fn of(pid: Pid) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        // The name comes before, in brackets, and may have anything in it.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut numbers = fields.split_whitespace().skip(1).map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self { parent: next()?, group: next()?, session: next()? })
    }
}

/// Whether nobody is left who could continue this job: no member of its group has a parent that is
/// outside of it and in the same session.
pub(crate) fn is_orphaned() -> bool {
    let group = getpgrp();
    let Some(mut place) = Ancestry::of(getpid()) else { return false };
    let session = place.session;
    while let Some(parent) = Pid::from_raw(place.parent).and_then(Ancestry::of) {
        if parent.session != session {
            return true;
        }
        if parent.group != group.as_raw_nonzero().get() {
            return false;
        }
        place = parent;
    }
    true
}

/// Whether the process is this one's parent, or the parent of that, and so on.
pub(super) fn is_above(pid: i32) -> bool {
    let mut place = Ancestry::of(getpid());
    while let Some(below) = place {
        if below.parent == pid {
            return true;
        }
        place = Pid::from_raw(below.parent).and_then(Ancestry::of);
    }
    false
}

/// Whether there is a process of this number that can be seen from here.
pub(super) fn is_there(pid: i32) -> bool {
    Pid::from_raw(pid).and_then(Ancestry::of).is_some()
}
