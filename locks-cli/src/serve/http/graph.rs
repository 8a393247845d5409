//! Who waits for whom: keys, and those who hold them and wait for them, as the nodes and edges of a
//! graph.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use locks::{LockInfo, OwnerId, ProcessInfo};
use serde_json::{Value, json};

use crate::list::person;
use crate::list::select::waited;

/// So many keys are drawn at most: those for which most wait, and those for which their holders
/// wait.
const KEYS: usize = 16;

/// So many of those who wait for a key, and who hold it; of the others, how many there are.
const EACH: usize = 5;

/// A holder or waiter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Owner(OwnerId),
    /// One whom nothing tells from others: by the key, and the place there.
    At(String, bool, usize),
}

#[derive(Debug, Default)]
struct Graph {
    numbers: HashMap<Who, usize>,
    nodes: Vec<Value>,
    edges: Vec<Value>,
}

/// The graph as JSON: `nodes` with `id` and `kind`, `edges` from those who wait to keys, and from
/// keys to those who hold them.
pub(super) fn graph(locks: &[LockInfo]) -> Value {
    let mut contended = locks.iter().filter(|lock| !lock.waiters.is_empty()).collect::<Vec<_>>();
    contended.sort_by_key(|lock| std::cmp::Reverse((lock.waiters.len(), waited(lock))));
    let drawn = drawn(&contended);
    let mut graph = Graph::default();
    for lock in &drawn {
        graph.add(lock);
    }
    json!({
        "contended": contended.len(),
        "drawn": drawn.len(),
        "nodes": graph.nodes,
        "edges": graph.edges,
    })
}

/// The first, and behind each of them what its holders wait for.
fn drawn<'a>(contended: &[&'a LockInfo]) -> Vec<&'a LockInfo> {
    let mut awaited = HashMap::<OwnerId, Vec<&LockInfo>>::new();
    for lock in contended {
        for owner in lock.waiters.iter().filter_map(|waiter| waiter.owner) {
            awaited.entry(owner).or_default().push(lock);
        }
    }
    let (mut drawn, mut known) = (Vec::new(), HashSet::new());
    for first in contended {
        let mut next = VecDeque::from([*first]);
        while let Some(lock) = next.pop_front() {
            if drawn.len() == KEYS {
                return drawn;
            }
            if !known.insert(lock.key.as_str()) {
                continue;
            }
            drawn.push(lock);
            let owners = lock.holders.iter().take(EACH).filter_map(|holder| holder.owner);
            next.extend(owners.filter_map(|owner| awaited.get(&owner)).flatten());
        }
    }
    drawn
}

impl Graph {
    fn add(&mut self, lock: &LockInfo) {
        let key = self.nodes.len();
        self.nodes.push(json!({
            "id": key,
            "kind": "key",
            "key": lock.key,
            "waiters": lock.waiters.len(),
            "more_waiters": lock.waiters.len().saturating_sub(EACH),
            "more_holders": lock.holders.len().saturating_sub(EACH),
            "reserved_ms": lock.reserved_for.map(millis),
        }));
        for (place, waiter) in lock.waiters.iter().take(EACH).enumerate() {
            let who =
                waiter.owner.map_or_else(|| Who::At(lock.key.clone(), false, place), Who::Owner);
            let from = self.number(who, &waiter.party, waiter.who.as_deref());
            self.edges.push(json!({
                "from": from,
                "to": key,
                "kind": "waits",
                "place": place + 1,
                "mode": person::mode(waiter.mode),
                "waited_ms": millis(waiter.waited),
                "site": person::waiter_site(waiter),
            }));
        }
        for (place, holder) in lock.holders.iter().take(EACH).enumerate() {
            let who =
                holder.owner.map_or_else(|| Who::At(lock.key.clone(), true, place), Who::Owner);
            let to = self.number(who, &holder.party, holder.who.as_deref());
            self.edges.push(json!({
                "from": key,
                "to": to,
                "kind": "held",
                "mode": person::mode(holder.mode),
                "age_ms": holder.age.map(millis),
                "site": person::holder_site(holder),
            }));
        }
    }

    fn number(&mut self, who: Who, party: &ProcessInfo, name: Option<&str>) -> usize {
        if let Some(number) = self.numbers.get(&who) {
            return *number;
        }
        let number = self.nodes.len();
        self.numbers.insert(who, number);
        self.nodes.push(json!({
            "id": number,
            "kind": "client",
            "label": party.label,
            "process": party.process,
            "pid": party.pid,
            "host": party.host,
            "who": name,
        }));
        number
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
