use std::time::Duration;

use super::Bug;
use super::random::SeededRandom;

/// What one run is like.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) bug: Option<Bug>,
    /// How long the clients are busy.
    pub(super) busy_for: Duration,
    pub(super) clients: usize,
    /// Threads and tasks of each.
    pub(super) tasks: usize,
    pub(super) keys: usize,
    /// So many clients in a hundred are kept by their lease.
    pub(super) leased: u64,
    /// So much is between two faults, about.
    pub(super) calm: Duration,
    pub(super) faults: Vec<PlannedFault>,
    /// The leases of sessions.
    pub(super) lease: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlannedFault {
    /// The server's process dies in the midst of what it does.
    Crash,
    /// The server's machine starts anew.
    Reboot,
    /// The server's process is stopped for a while.
    StopServer,
    /// The server's machine is suspended for a while.
    Suspend,
    /// A connection breaks.
    Cut,
    /// A connection breaks, and one end does not see it.
    HalfOpen,
    /// A client does not reach the server for a while.
    Partition,
    /// A client's process is stopped for a while.
    Stop,
    /// A client's process dies, and another one comes.
    Kill,
}

const ALL: [PlannedFault; 9] = [
    PlannedFault::Crash,
    PlannedFault::Reboot,
    PlannedFault::StopServer,
    PlannedFault::Suspend,
    PlannedFault::Cut,
    PlannedFault::HalfOpen,
    PlannedFault::Partition,
    PlannedFault::Stop,
    PlannedFault::Kill,
];

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        let random = &mut SeededRandom::new(seed ^ 0x706c_616e);
        let mut faults = ALL.to_vec();
        match random.within(0..10) {
            // Some runs are without any, and some have one kind only.
            0 => faults.clear(),
            1..4 => faults = random.pick(&ALL).copied().into_iter().collect(),
            4..7 => faults.retain(|_| random.percent(50)),
            _ => {}
        }
        Self {
            seed,
            bug: None,
            busy_for: random.millis(400..1600),
            clients: random.within(1..5) as usize,
            tasks: random.within(1..4) as usize,
            keys: random.within(1..5) as usize,
            leased: *random.pick(&[0, 50, 50, 100]).unwrap_or(&50),
            calm: random.millis(20..300),
            faults,
            lease: random.millis(300..600),
        }
    }
}
