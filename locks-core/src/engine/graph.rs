//! Deadlock detection (C10): who waits for whom, across all keys of the engine.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use smallvec::SmallVec;

use super::Core;
use super::describe;
use super::effects::Effects;
use super::registry::Pinned;
use super::state::{HoldEntry, Place, State, Waiter};
use crate::identity::Within;
use crate::{DeadlockStep, HolderInfo, Mode, OwnerId, WaiterInfo};

/// The waits in whose names something may be held.
///
/// * G1: a wait is entered before it is looked at for cycles, and both happen under one lock of
///   the graph: of the waits that close a cycle, the last one to be entered sees it, and no other.
/// * G2: a wait is in `by_owner` under each identity that it blocks.
#[derive(Default)]
pub(super) struct Graph {
    waits: HashMap<u64, Wait>,
    by_owner: HashMap<OwnerId, SmallVec<[u64; 2]>>,
    next: u64,
}

struct Wait {
    slot: Pinned,
    place: Place,
    within: Within,
}

/// An entered wait; dropping it takes it out.
pub(super) struct Edge {
    core: Arc<Core>,
    id: u64,
}

impl Drop for Edge {
    fn drop(&mut self) {
        let gone = self.core.graph.lock().remove(self.id);
        // Unpins the slot, which takes the shard's mutex.
        drop(gone);
    }
}

impl Graph {
    /// Enters a wait. `Err`: it would never end, and why.
    pub(super) fn enter(
        core: &Arc<Core>,
        slot: &Pinned,
        place: Place,
        within: &Within,
    ) -> Result<Edge, Vec<DeadlockStep>> {
        let wait = Wait { slot: slot.clone(), place, within: within.clone() };
        let mut graph = core.graph.lock();
        let id = graph.next;
        graph.next += 1;
        for owner in within {
            graph.by_owner.entry(*owner).or_default().push(id);
        }
        graph.waits.insert(id, wait);
        let Some(cycle) = graph.find_cycle(core, id) else {
            return Ok(Edge { core: core.clone(), id });
        };
        // G1: at once, so that nobody else takes a wait that is refused for one that is stuck.
        let refused = graph.remove(id);
        drop(graph);
        drop(refused);
        Err(cycle)
    }

    fn remove(&mut self, id: u64) -> Option<Wait> {
        let wait = self.waits.remove(&id)?;
        for owner in &wait.within {
            if let Some(waits) = self.by_owner.get_mut(owner) {
                waits.retain(|found| *found != id);
                if waits.is_empty() {
                    self.by_owner.remove(owner);
                }
            }
        }
        Some(wait)
    }

    fn find_cycle(&self, core: &Arc<Core>, start: u64) -> Option<Vec<DeadlockStep>> {
        let nodes = self.explore(core, start);
        let everybody = nodes.keys().copied().collect::<HashSet<_>>();
        let stuck = settle_on_stuck(&nodes, everybody.clone());
        if !stuck.contains(&start) {
            return None;
        }
        // A cycle that does not need this wait is not this wait's to report.
        let mut others = everybody;
        others.remove(&start);
        if nodes[&start].is_stuck(&settle_on_stuck(&nodes, others)) {
            return None;
        }
        Some(walk(&nodes, &stuck, start))
    }

    /// The waits that can be reached from `start`, with what is in the way of each.
    fn explore(&self, core: &Arc<Core>, start: u64) -> HashMap<u64, Node> {
        let mut nodes = HashMap::new();
        let mut open = VecDeque::from([start]);
        while let Some(id) = open.pop_front() {
            if nodes.contains_key(&id) {
                continue;
            }
            let node = self.node(core, id);
            open.extend(node.blockers.iter().flat_map(|blocker| blocker.leads_to.iter().copied()));
            nodes.insert(id, node);
        }
        nodes
    }

    fn node(&self, core: &Arc<Core>, id: u64) -> Node {
        let wait = &self.waits[&id];
        let now = core.clock.now();
        let frozen = core.freeze(&wait.slot, now);
        let node = match frozen.waiter(wait.place) {
            Some(waiter) => Node {
                key: wait.slot.key().into(),
                waiter: describe::waiter(waiter, now),
                any_will_do: matches!(waiter.ask.mode, Mode::Permit { .. }),
                // A thief whose steal will come due does not wait for ever (C10); one in whose way
                // is a set that is not complete yet may.
                // Nor does a permit wait for ever that is only reserved.
                blockers: in_the_way(&frozen, wait.place, waiter)
                    .filter(|_| {
                        let permit = matches!(waiter.ask.mode, Mode::Permit { .. });
                        !permit || frozen.reserved_until().is_none()
                    })
                    .filter(|_| frozen.due(&waiter.ask).is_none())
                    .map(|hold| Blocker {
                        leads_to: self.led_to(hold, waiter),
                        holder: describe::holder(hold, now),
                    })
                    .collect(),
            },
            // It has been granted meanwhile, and waits for nobody.
            None => Node {
                key: String::new(),
                waiter: WaiterInfo::new(Mode::Exclusive, std::time::Duration::ZERO),
                any_will_do: false,
                blockers: Vec::new(),
            },
        };
        core.finish(frozen, Effects::default());
        node
    }

    /// The waits that keep `hold` from ending.
    fn led_to(&self, hold: &HoldEntry, waiter: &Waiter) -> Vec<u64> {
        if hold.ends_at.is_some() {
            return Vec::new();
        }
        let caller = &waiter.ask.caller;
        // A waiter that may nest waits for the guards inside its own only, or for a turn to become a
        // grant (C9).
        let nests = waiter.ask.reentrant && !hold.lets_in(caller);
        let owners = hold.levels.iter().filter_map(|level| level.owner);
        let owners = owners.filter(|owner| !(nests && caller.counts_as(Some(*owner))));
        owners.filter_map(|owner| self.by_owner.get(&owner)).flatten().copied().collect()
    }
}

/// A wait, as the search for cycles sees it.
struct Node {
    key: String,
    waiter: WaiterInfo,
    /// For a permit: it is enough if one of those in the way goes.
    any_will_do: bool,
    blockers: Vec<Blocker>,
}

/// A hold in the way of a wait.
struct Blocker {
    leads_to: Vec<u64>,
    holder: HolderInfo,
}

impl Node {
    /// Whether the wait never ends if those of `stuck` do not.
    fn is_stuck(&self, stuck: &HashSet<u64>) -> bool {
        let is_stuck = |blocker: &Blocker| blocker.leads_to.iter().any(|id| stuck.contains(id));
        if self.any_will_do {
            !self.blockers.is_empty() && self.blockers.iter().all(is_stuck)
        } else {
            self.blockers.iter().any(is_stuck)
        }
    }
}

/// The holds that `waiter` waits for: those that conflict with it, or with whoever is before it.
fn in_the_way<'a>(
    state: &'a State,
    place: Place,
    waiter: &Waiter,
) -> impl Iterator<Item = &'a HoldEntry> + use<'a> {
    let mode = waiter.ask.mode;
    let waits_in_line = waiter.ask.fair != Some(false);
    let exclusively = mode == Mode::Exclusive
        || waits_in_line
            && state
                .waiters()
                .take_while(|(before, _)| *before < place)
                .any(|(_, before)| before.ask.mode == Mode::Exclusive);
    let upgrades = waiter.upgrades;
    state.holds().iter().filter(move |hold| {
        let conflicts =
            exclusively || hold.mode == Mode::Exclusive || matches!(mode, Mode::Permit { .. });
        conflicts && Some(hold.token) != upgrades
    })
}

/// What is left of `waits` when those that will end are taken out, again and again.
fn settle_on_stuck(nodes: &HashMap<u64, Node>, mut waits: HashSet<u64>) -> HashSet<u64> {
    loop {
        let ends = waits.iter().copied().filter(|id| !nodes[id].is_stuck(&waits));
        let ends = ends.collect::<Vec<_>>();
        if ends.is_empty() {
            return waits;
        }
        for id in ends {
            waits.remove(&id);
        }
    }
}

/// The shortest way from `start` back to itself.
fn walk(nodes: &HashMap<u64, Node>, stuck: &HashSet<u64>, start: u64) -> Vec<DeadlockStep> {
    let mut came_from = HashMap::<u64, (u64, usize)>::new();
    let mut open = VecDeque::from([start]);
    'search: while let Some(id) = open.pop_front() {
        for (index, blocker) in nodes[&id].blockers.iter().enumerate() {
            for next in blocker.leads_to.iter().filter(|next| stuck.contains(next)) {
                if !came_from.contains_key(next) {
                    came_from.insert(*next, (id, index));
                    open.push_back(*next);
                }
                if *next == start {
                    break 'search;
                }
            }
        }
    }
    let mut steps = VecDeque::new();
    let mut at = start;
    while let Some((from, blocker)) = came_from.get(&at) {
        let node = &nodes[from];
        let holder = node.blockers[*blocker].holder.clone();
        steps.push_front(DeadlockStep::new(&node.key, node.waiter.clone(), holder));
        at = *from;
        if at == start {
            break;
        }
    }
    steps.into()
}
