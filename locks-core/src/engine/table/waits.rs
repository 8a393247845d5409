//! The waits of an engine, by whom they block: what deadlocks are looked for in (C10).

use super::slot::SlotRef;
use crate::engine::state::QueuePosition;
use crate::sync::Mutex;
use crate::{OwnerId, Token};

/// The waits in whose names something may be held.
///
/// * G1: a wait is entered in the tables with its slot's mutex held. With the same mutex it reads
///   who holds the key, so that no other comes to hold it in between; and then it looks whether one
///   of these waits. Of the waits that close a cycle, the last to be entered sees the others.
/// * G2: a suspicion is confirmed with all slots that it reaches locked at once, in the order of
///   their keys, and by one thread at a time. The wait that is refused leaves its queue before any
///   of those slots is unlocked.
/// * G3: who has an entry has a pin of its slot, and takes the entry out first.
pub(in crate::engine) struct Waits {
    tables: Box<[WaitTable]>,
    pub(in crate::engine) confirming: Mutex<()>,
}

/// Those of some identities; on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct WaitTable(Mutex<Vec<WaitEntry>>);

pub(in crate::engine) struct WaitEntry {
    pub(in crate::engine) owner: OwnerId,
    pub(in crate::engine) wait: WaitId,
    /// Whether it is not known which thread or scope it blocks: there is nobody but the owner.
    pub(in crate::engine) is_alone: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::engine) struct WaitId {
    pub(in crate::engine) slot: SlotRef,
    pub(in crate::engine) site: WaitSite,
}

/// Where somebody waits for a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::engine) enum WaitSite {
    InQueue(QueuePosition),
    /// At the upstream, with the provisional hold of this name, beside holds that it may steal.
    Provisional(Token),
}

impl Default for Waits {
    fn default() -> Self {
        let explored = cfg!(any(loom, shuttle));
        let tables = (0..if explored { 1 } else { TABLES }).map(|_| WaitTable::default()).collect();
        Self { tables, confirming: Mutex::new(()) }
    }
}

const TABLES: usize = 32;

impl Waits {
    pub(in crate::engine) fn table(&self, owner: OwnerId) -> &Mutex<Vec<WaitEntry>> {
        &self.tables[owner.spread() as usize % self.tables.len()].0
    }

    /// Whether somebody waits in this name.
    pub(in crate::engine) fn has(&self, owner: OwnerId) -> bool {
        self.table(owner).lock().iter().any(|entry| entry.owner == owner)
    }
}
