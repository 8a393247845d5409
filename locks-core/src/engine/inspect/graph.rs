//! Deadlock detection (C10): who waits for whom, across all keys of the engine.

use std::collections::HashMap;

use smallvec::SmallVec;

use crate::clock::Moment;
use crate::engine::state::{HoldEntry, QueuePosition, State, Units, Waiter};
use crate::engine::table::{
    Core, PinnedSlot, SlotRef, StateGuard, WaitEntry, WaitId, WaitSite, Waits,
};
use crate::identity::OwnerChain;
use crate::{DeadlockStep, Mode, OwnerId, Token};

/// Those who hold a key.
pub(in crate::engine) type Owners = SmallVec<[OwnerId; 2]>;

/// An entered wait; dropping it takes it out.
pub(in crate::engine) struct Edge {
    slot: PinnedSlot,
    site: WaitSite,
    within: OwnerChain,
}

impl Edge {
    /// Enters a wait that has just queued; called with its slot's mutex held (G1). `None` if no
    /// identity waits by it.
    pub(in crate::engine) fn enter(
        slot: &PinnedSlot,
        place: QueuePosition,
        within: OwnerChain,
    ) -> Option<Box<Self>> {
        let publish = || Self::publish(slot.clone(), WaitSite::InQueue(place), within.clone());
        (!within.is_empty()).then(|| Box::new(publish()))
    }

    /// Whether the wait can end, for a key that these held when it was entered; without the mutex.
    /// `Err`: it never would, and why; it has left the queue then.
    pub(in crate::engine) fn search(&self, holders: &Owners) -> Result<(), Vec<DeadlockStep>> {
        let WaitSite::InQueue(place) = self.site else { return Ok(()) };
        let core = self.slot.core();
        if !holders.iter().any(|owner| core.waits.has(*owner)) {
            return Ok(());
        }
        match core.waits.confirm(&self.slot, place) {
            None => Ok(()),
            Some(cycle) => {
                core.freeze(&self.slot).grant_waiters();
                Err(cycle)
            }
        }
    }

    /// Adds the wait of a thief that has asked the upstream. It is not searched for cycles: a
    /// holder that closes one adds its own wait later, and is searched then.
    pub(in crate::engine) fn enter_provisional(
        slot: PinnedSlot,
        name: Token,
        within: OwnerChain,
    ) -> Self {
        Self::publish(slot, WaitSite::Provisional(name), within)
    }

    fn publish(slot: PinnedSlot, site: WaitSite, within: OwnerChain) -> Self {
        let edge = Self { slot, site, within };
        let wait = edge.wait();
        for owner in &edge.within {
            let owner = *owner;
            let entry = WaitEntry { owner, wait, is_alone: edge.within.len() == 1 };
            edge.slot.core().waits.table(owner).lock().push(entry);
        }
        edge
    }

    fn wait(&self) -> WaitId {
        WaitId { slot: self.slot.slot_ref(), site: self.site }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let wait = self.wait();
        for owner in &self.within {
            let mut table = self.slot.core().waits.table(*owner).lock();
            let found = table.iter().position(|entry| entry.owner == *owner && entry.wait == wait);
            found.map(|index| table.swap_remove(index));
            if table.is_empty() && table.capacity() > 64 {
                *table = Vec::new();
            }
        }
    }
}

impl Waits {
    /// Whether a wait is part of a cycle; if so, it is taken out of its queue.
    #[cold]
    fn confirm(&self, slot: &PinnedSlot, place: QueuePosition) -> Option<Vec<DeadlockStep>> {
        let now = slot.core().clock.now();
        let start = WaitId { slot: slot.slot_ref(), site: WaitSite::InQueue(place) };
        let one_at_a_time = self.confirming.lock();
        let mut slots = vec![slot.clone()];
        loop {
            slots.sort_unstable_by(|one, other| one.key().cmp(other.key()));
            let mut states = slots.iter().map(|slot| slot.look(now)).collect::<Vec<_>>();
            let mut search = Search::new(self, slot.core(), &slots, &states);
            let nodes = search.explore(start);
            let unseen = std::mem::take(&mut search.unseen);
            if unseen.is_empty() {
                let cycle = find_cycle(&nodes)?;
                let steps = cycle.into_iter().filter_map(|step| describe(&search, step, now));
                let steps = steps.collect();
                let own = slots.iter().position(|found| found.slot_ref() == start.slot);
                let own = own.and_then(|index| states[index].as_mut());
                let entry = own.and_then(|state| state.dequeue(place));
                drop(states);
                drop(one_at_a_time);
                drop(entry);
                return Some(steps);
            }
            drop(states);
            slots.extend(unseen);
        }
    }
}

/// One look at the graph, with so many slots locked as are known to matter.
struct Search<'a> {
    waits: &'a Waits,
    core: &'a std::sync::Arc<Core>,
    slots: &'a [PinnedSlot],
    states: &'a [StateGuard<'a>],
    reached: Vec<WaitId>,
    stands: HashMap<WaitId, usize>,
    /// Those that turn out to matter as well.
    unseen: Vec<PinnedSlot>,
}

/// Where the wait stands that a search begins at.
const START: usize = 0;

/// A wait, as the search for cycles sees it.
#[derive(Default)]
struct Node {
    /// The number of units that may be held while the wait ends: the key's permits less those asked
    /// for (C16).
    tolerates: u64,
    blockers: Vec<Blocker>,
}

/// A hold in the way of a wait.
struct Blocker {
    hold: Token,
    units: u64,
    leads_to: Vec<usize>,
}

impl<'a> Search<'a> {
    fn new(
        waits: &'a Waits,
        core: &'a std::sync::Arc<Core>,
        slots: &'a [PinnedSlot],
        states: &'a [StateGuard<'a>],
    ) -> Self {
        let (reached, stands, unseen) = (Vec::new(), HashMap::new(), Vec::new());
        Self { waits, core, slots, states, reached, stands, unseen }
    }

    /// The waits that can be reached from `start`, with what is in the way of each.
    fn explore(&mut self, start: WaitId) -> Vec<Node> {
        self.reached.push(start);
        self.stands.insert(start, START);
        let mut nodes = Vec::new();
        while let Some(wait) = self.reached.get(nodes.len()).copied() {
            nodes.push(self.node(wait));
        }
        nodes
    }

    fn state(&self, slot: SlotRef) -> Option<&'a State> {
        let index = self.slots.iter().position(|known| known.slot_ref() == slot)?;
        self.states[index].as_deref()
    }

    fn node(&mut self, wait: WaitId) -> Node {
        // It is not locked yet; or nobody waits there any more.
        let Some(state) = self.state(wait.slot) else { return Node::default() };
        match wait.site {
            WaitSite::Provisional(name) => self.provisional_node(state, name),
            WaitSite::InQueue(place) => match state.waiter(place) {
                // It has been granted meanwhile, and waits for nobody.
                None => Node::default(),
                Some(waiter) => Node {
                    tolerates: tolerated(state, place, waiter),
                    // A thief whose steal will come due does not wait for ever (C10); one in whose
                    // way is a set that is not complete yet may.
                    blockers: in_the_way(state, place, waiter)
                        .filter(|_| state.due(&waiter.ask).is_none())
                        .map(|hold| self.blocker(hold, Some(waiter)))
                        .collect(),
                },
            },
        }
    }

    /// A thief at the upstream waits for as long as what is in its way does not age: for parts of
    /// what is not complete (C11).
    fn provisional_node(&mut self, state: &State, name: Token) -> Node {
        let Some(thief) = state.holds().iter().find(|hold| hold.token == name) else {
            return Node::default();
        };
        let exclusive = |hold: &HoldEntry| hold.mode == Mode::Exclusive;
        let is_part = |hold: &&HoldEntry| hold.is_granted() && hold.since.is_none();
        let parts = state.holds().iter().filter(is_part);
        Node {
            tolerates: 0,
            blockers: parts
                // One of several permits may become free elsewhere.
                .filter(|part| exclusive(part) || exclusive(thief))
                .map(|part| self.blocker(part, None))
                .collect(),
        }
    }

    /// A hold with the waits that keep it from ending; in the way of a waiter, or of a thief's
    /// provisional hold.
    fn blocker(&mut self, hold: &HoldEntry, waiter: Option<&Waiter>) -> Blocker {
        let mut leads_to = Vec::new();
        if hold.ends_at.is_none() {
            // A waiter that may nest waits for the guards inside its own only, or for a provisional
            // hold to become a grant (C9).
            let nests = waiter.map(|waiter| &waiter.ask);
            let nests = nests.filter(|ask| ask.reentrant && !ask.mode.exceeds(hold.mode));
            let nests = nests.map(|ask| &ask.caller).filter(|caller| !hold.lets_in(caller));
            let is_own = |owner| nests.is_some_and(|caller| caller.counts_as(owner));
            let levels = hold.levels.iter().filter(|level| !is_own(level.owner));
            for (runs_as, owner) in levels.map(|level| (level.runs_as, level.owner)) {
                // Of the waits in its owner's name, those of other threads and scopes do not keep
                // it.
                let named = owner.filter(|_| owner != runs_as).map(|owner| (owner, true));
                let blocked = runs_as.map(|runs_as| (runs_as, runs_as.is_name()));
                for (owner, alone) in blocked.into_iter().chain(named) {
                    let table = self.waits.table(owner).lock();
                    let entries = table.iter().filter(|entry| entry.owner == owner);
                    for entry in entries.filter(|entry| entry.is_alone || !alone) {
                        leads_to.push(self.stand(entry.wait));
                    }
                }
            }
        }
        Blocker { hold: hold.token, units: hold.mode.units(), leads_to }
    }

    /// Where this wait, whose table is locked, stands in `reached`: at its end, if it is new there.
    fn stand(&mut self, wait: WaitId) -> usize {
        let end = self.reached.len();
        let stand = *self.stands.entry(wait).or_insert(end);
        if stand == end {
            self.reached.push(wait);
            let is_known =
                |slots: &[PinnedSlot]| slots.iter().any(|slot| slot.slot_ref() == wait.slot);
            if !is_known(self.slots) && !is_known(&self.unseen) {
                // SAFETY: its table is locked, so whoever has entered it has a pin until then (G3).
                self.unseen.push(unsafe { PinnedSlot::new(self.core, wait.slot) });
            }
        }
        stand
    }
}

impl Node {
    /// Whether the wait never ends if those that are `stuck` do not.
    fn is_stuck(&self, stuck: &[bool]) -> bool {
        let is_stuck = |blocker: &Blocker| blocker.leads_to.iter().any(|at| stuck[*at]);
        let stuck = self.blockers.iter().filter(|blocker| is_stuck(blocker));
        stuck.map(|blocker| blocker.units).fold(0, u64::saturating_add) > self.tolerates
    }
}

/// Those in the queue before `waiter` whom it does not overtake and who do not steal their way in.
fn ahead<'a>(
    state: &'a State,
    place: QueuePosition,
    waiter: &Waiter,
) -> impl Iterator<Item = &'a Waiter> + use<'a> {
    let waits_in_line = waiter.ask.fair != Some(false);
    let before = state.waiters().take_while(move |(before, _)| waits_in_line && *before < place);
    before.map(|(_, before)| before).filter(|before| state.due(&before.ask).is_none())
}

/// The holds that `waiter` waits for: those that conflict with it, or with whoever is before it.
fn in_the_way<'a>(
    state: &'a State,
    place: QueuePosition,
    waiter: &Waiter,
) -> impl Iterator<Item = &'a HoldEntry> + use<'a> {
    let mode = waiter.ask.mode;
    let exclusively = mode == Mode::Exclusive
        || ahead(state, place, waiter).any(|before| before.ask.mode == Mode::Exclusive);
    let upgrades = waiter.upgrades;
    state.holds().iter().filter(move |hold| {
        let conflicts = exclusively || hold.mode == Mode::Exclusive || mode.takes_permits();
        conflicts && Some(hold.token) != upgrades
    })
}

/// Returns how many permits may never be given back and leave enough for `waiter` and all before it
/// (C16).
fn tolerated(state: &State, place: QueuePosition, waiter: &Waiter) -> u64 {
    let waiters = ahead(state, place, waiter).chain([waiter]);
    let beside = |mode: Mode| match mode {
        Mode::Permit { .. } => mode.capacity().saturating_sub(mode.units()),
        Mode::Exclusive | Mode::Shared => 0,
    };
    waiters.map(|waiter| beside(waiter.ask.mode)).min().unwrap_or(0)
}

/// What is left of `waits` when those that will end are taken out, again and again.
fn stuck_of(nodes: &[Node], mut waits: Vec<bool>) -> Vec<bool> {
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

/// The shortest way from the start back to itself, if it never ends: waits, and the hold in the way
/// of each.
fn find_cycle(nodes: &[Node]) -> Option<Vec<(usize, Token)>> {
    let stuck = stuck_of(nodes, vec![true; nodes.len()]);
    // A cycle that does not need this wait is not this wait's to report.
    let mut others = vec![true; nodes.len()];
    others[START] = false;
    if !stuck[START] || nodes[START].is_stuck(&stuck_of(nodes, others)) {
        return None;
    }
    let mut came_from = vec![None; nodes.len()];
    let mut open = vec![START];
    let mut done = 0;
    while let Some(at) = open.get(done).copied()
        && came_from[START].is_none()
    {
        done += 1;
        for blocker in &nodes[at].blockers {
            for next in blocker.leads_to.iter().copied().filter(|next| stuck[*next]) {
                if came_from[next].is_none() {
                    came_from[next] = Some((at, blocker.hold));
                    open.push(next);
                }
            }
        }
    }
    let mut steps = Vec::new();
    let mut at = START;
    while let Some(step) = came_from[at] {
        steps.push(step);
        at = step.0;
        if at == START {
            break;
        }
    }
    steps.reverse();
    Some(steps)
}

/// A step of a cycle, for people.
fn describe(search: &Search<'_>, step: (usize, Token), now: Moment) -> Option<DeadlockStep> {
    let (at, token) = step;
    let wait = search.reached[at];
    let state = search.state(wait.slot)?;
    let slot = search.slots.iter().find(|slot| slot.slot_ref() == wait.slot)?;
    let hold = |token| state.holds().iter().find(|hold| hold.token == token);
    let waiter = match wait.site {
        WaitSite::InQueue(place) => state.waiter(place)?.info(now),
        WaitSite::Provisional(name) => hold(name)?.waiter_info(),
    };
    Some(DeadlockStep::new(slot.key(), waiter, hold(token)?.holder_info(now)))
}
