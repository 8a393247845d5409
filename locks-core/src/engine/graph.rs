//! Deadlock detection (C10): who waits for whom, across all keys of the engine.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Core;
use super::describe;
use super::effects::Effects;
use super::pin::Pinned;
use super::slot::Frozen;
use super::state::{HoldEntry, Place, State, Units, Waiter};
use crate::clock::Moment;
use crate::identity::Within;
use crate::{DeadlockStep, HolderInfo, Mode, OwnerId, Token, WaiterInfo};

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
    stand: Stand,
    within: Within,
    /// Where it stands in the search that began at the wait of the first number.
    found: Cell<(u64, usize)>,
}

/// Where somebody waits for a key.
#[derive(Clone, Copy)]
enum Stand {
    InQueue(Place),
    /// At the upstream, with the turn of this name, beside holds that it may steal.
    WithTurn(Token),
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
        let (slot, within) = (slot.clone(), within.clone());
        let mut graph = core.graph.lock();
        let id = graph.insert(slot, Stand::InQueue(place), within);
        let Some(cycle) = graph.find_cycle(core, id) else {
            return Ok(Edge { core: core.clone(), id });
        };
        // G1: at once, so that nobody else takes a wait that is refused for one that is stuck.
        let refused = graph.remove(id);
        drop(graph);
        drop(refused);
        Err(cycle)
    }

    /// Enters the wait of a thief that is at the upstream, beside whoever else has a turn of the key.
    /// It closes no cycle: whoever is granted the key first and goes on to wait enters later.
    pub(super) fn enter_turn(core: &Arc<Core>, slot: Pinned, turn: Token, within: Within) -> Edge {
        let id = core.graph.lock().insert(slot, Stand::WithTurn(turn), within);
        Edge { core: core.clone(), id }
    }

    fn insert(&mut self, slot: Pinned, stand: Stand, within: Within) -> u64 {
        let id = self.next;
        self.next += 1;
        for owner in &within {
            self.by_owner.entry(*owner).or_default().push(id);
        }
        self.waits.insert(id, Wait { slot, stand, within, found: Cell::new((id, START)) });
        id
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
        let stuck = settle_on_stuck(&nodes, vec![true; nodes.len()]);
        if !stuck[START] {
            return None;
        }
        // A cycle that does not need this wait is not this wait's to report.
        let mut others = vec![true; nodes.len()];
        others[START] = false;
        if nodes[START].is_stuck(&settle_on_stuck(&nodes, others)) {
            return None;
        }
        Some(walk(&nodes, &stuck))
    }

    /// The waits that can be reached from `start`, with what is in the way of each.
    fn explore(&self, core: &Arc<Core>, start: u64) -> Vec<Node> {
        let mut reached = vec![start];
        let mut nodes = Vec::new();
        while let Some(id) = reached.get(nodes.len()).copied() {
            nodes.push(self.node(core, id, &mut reached));
        }
        nodes
    }

    fn node(&self, core: &Arc<Core>, id: u64, reached: &mut Vec<u64>) -> Node {
        let wait = &self.waits[&id];
        let now = core.clock.now();
        let frozen = core.freeze(&wait.slot, now);
        let place = match wait.stand {
            Stand::InQueue(place) => place,
            Stand::WithTurn(turn) => {
                let node = self.turn_node(&frozen, turn, now, reached);
                core.finish(frozen, Effects::default());
                return node;
            }
        };
        let node = match frozen.waiter(place) {
            Some(waiter) => Node {
                key: wait.slot.key().into(),
                waiter: describe::waiter(waiter, now),
                tolerates: tolerated(&frozen, place, waiter),
                // A thief whose steal will come due does not wait for ever (C10); one in whose way
                // is a set that is not complete yet may.
                blockers: in_the_way(&frozen, place, waiter)
                    .filter(|_| frozen.due(&waiter.ask).is_none())
                    .map(|hold| Blocker {
                        leads_to: self.led_to(hold, Some(waiter), reached),
                        holder: describe::holder(hold, now),
                    })
                    .collect(),
            },
            // It has been granted meanwhile, and waits for nobody.
            None => Node::over(),
        };
        core.finish(frozen, Effects::default());
        node
    }

    /// A thief at the upstream waits for as long as what is in its way does not age: for parts of
    /// what is not complete (C11).
    fn turn_node(
        &self,
        frozen: &Frozen<'_>,
        turn: Token,
        now: Moment,
        reached: &mut Vec<u64>,
    ) -> Node {
        let Some(thief) = frozen.holds().iter().find(|hold| hold.token == turn) else {
            return Node::over();
        };
        let exclusive = |hold: &HoldEntry| hold.mode == Mode::Exclusive;
        let is_part = |hold: &&HoldEntry| hold.is_granted() && hold.since.is_none();
        let parts = frozen.holds().iter().filter(is_part);
        Node {
            key: frozen.slot().key().into(),
            waiter: describe::turn(thief),
            tolerates: 0,
            blockers: parts
                // One of several permits may become free elsewhere.
                .filter(|part| exclusive(part) || exclusive(thief))
                .map(|part| Blocker {
                    leads_to: self.led_to(part, None, reached),
                    holder: describe::holder(part, now),
                })
                .collect(),
        }
    }

    /// The waits that keep `hold` from ending, by where they stand in `reached`; for one in the queue.
    fn led_to(
        &self,
        hold: &HoldEntry,
        waiter: Option<&Waiter>,
        reached: &mut Vec<u64>,
    ) -> Vec<usize> {
        if hold.ends_at.is_some() {
            return Vec::new();
        }
        // A waiter that may nest waits for the guards inside its own only, or for a turn to become a
        // grant (C9).
        let nests = waiter.map(|waiter| &waiter.ask).filter(|ask| ask.reentrant);
        let nests = nests.map(|ask| &ask.caller).filter(|caller| !hold.lets_in(caller));
        let levels = hold.levels.iter();
        let levels =
            levels.filter(|level| !nests.is_some_and(|caller| caller.counts_as(level.owner)));
        let waits = levels.filter_map(|level| self.by_owner.get(&level.runs_as?)).flatten();
        waits.map(|id| self.waits[id].stand(*id, reached)).collect()
    }
}

impl Wait {
    /// Where this wait, which is `id`, stands in `reached`: at its end, if it is new there.
    fn stand(&self, id: u64, reached: &mut Vec<u64>) -> usize {
        let search = reached[START];
        if self.found.get().0 != search {
            self.found.set((search, reached.len()));
            reached.push(id);
        }
        self.found.get().1
    }
}

/// Where the wait stands that a search begins at.
const START: usize = 0;

/// A wait, as the search for cycles sees it.
struct Node {
    key: String,
    waiter: WaiterInfo,
    /// So many of those in the way may stay: the other permits that there are (C16).
    tolerates: usize,
    blockers: Vec<Blocker>,
}

/// A hold in the way of a wait.
struct Blocker {
    leads_to: Vec<usize>,
    holder: HolderInfo,
}

impl Node {
    /// That of a wait which is over, for nobody.
    fn over() -> Self {
        Self {
            key: String::new(),
            waiter: WaiterInfo::new(Mode::Exclusive, std::time::Duration::ZERO),
            tolerates: 0,
            blockers: Vec::new(),
        }
    }

    /// Whether the wait never ends if those that are `stuck` do not.
    fn is_stuck(&self, stuck: &[bool]) -> bool {
        let is_stuck = |blocker: &Blocker| blocker.leads_to.iter().any(|at| stuck[*at]);
        self.blockers.iter().filter(|blocker| is_stuck(blocker)).count() > self.tolerates
    }
}

/// Those in the queue before `waiter` whom it does not overtake and who do not steal their way in.
fn ahead<'a>(
    state: &'a State,
    place: Place,
    waiter: &Waiter,
) -> impl Iterator<Item = &'a Waiter> + use<'a> {
    let waits_in_line = waiter.ask.fair != Some(false);
    let before = state.waiters().take_while(move |(before, _)| waits_in_line && *before < place);
    before.map(|(_, before)| before).filter(|before| state.due(&before.ask).is_none())
}

/// The holds that `waiter` waits for: those that conflict with it, or with whoever is before it.
fn in_the_way<'a>(
    state: &'a State,
    place: Place,
    waiter: &Waiter,
) -> impl Iterator<Item = &'a HoldEntry> + use<'a> {
    let mode = waiter.ask.mode;
    let exclusively = mode == Mode::Exclusive
        || ahead(state, place, waiter).any(|before| before.ask.mode == Mode::Exclusive);
    let upgrades = waiter.upgrades;
    state.holds().iter().filter(move |hold| {
        let conflicts = exclusively || hold.mode == Mode::Exclusive || mode.is_permit();
        conflicts && Some(hold.token) != upgrades
    })
}

/// How many holds that never end leave `waiter` and whoever is before it a permit each (C16).
fn tolerated(state: &State, place: Place, waiter: &Waiter) -> usize {
    let waiters = ahead(state, place, waiter).chain([waiter]);
    let beside = |mode: Mode| match mode {
        Mode::Permit { of } => of as usize - 1,
        Mode::Exclusive | Mode::Shared => 0,
    };
    waiters.map(|waiter| beside(waiter.ask.mode)).min().unwrap_or(0)
}

/// What is left of `waits` when those that will end are taken out, again and again.
fn settle_on_stuck(nodes: &[Node], mut waits: Vec<bool>) -> Vec<bool> {
    loop {
        let mut ended = false;
        for (at, node) in nodes.iter().enumerate() {
            if waits[at] && !node.is_stuck(&waits) {
                waits[at] = false;
                ended = true;
            }
        }
        if !ended {
            return waits;
        }
    }
}

/// The shortest way from the start back to itself.
fn walk(nodes: &[Node], stuck: &[bool]) -> Vec<DeadlockStep> {
    let mut came_from = vec![None; nodes.len()];
    let mut open = vec![START];
    let mut done = 0;
    while let Some(at) = open.get(done).copied()
        && came_from[START].is_none()
    {
        done += 1;
        for (index, blocker) in nodes[at].blockers.iter().enumerate() {
            for next in blocker.leads_to.iter().copied().filter(|next| stuck[*next]) {
                if came_from[next].is_none() {
                    came_from[next] = Some((at, index));
                    open.push(next);
                }
            }
        }
    }
    let mut steps = Vec::new();
    let mut at = START;
    while let Some((from, blocker)) = came_from[at] {
        let node = &nodes[from];
        let holder = node.blockers[blocker].holder.clone();
        steps.push(DeadlockStep::new(&node.key, node.waiter.clone(), holder));
        at = from;
        if at == START {
            break;
        }
    }
    steps.reverse();
    steps
}
