//! Lists of what there is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use locks_core::{LeaseEntry, LockError, Query};
use tokio::task::JoinSet;
use tonic::Status;

use super::clock::Instant;
use super::cluster::{Cluster, EtcdConnection, failed};
use super::layout::{EtcdLayout, Span};
use super::standing::Standing;
use super::wire::{KeyValue, RangeRequest};
use crate::link::{Connected, Link};

/// How many entries are asked for at a time.
const PAGE: i64 = 2000;
/// How many leases are asked about at the same time.
const AT_ONCE: usize = 64;

/// Returns holds, reservations and places.
pub(super) async fn list(
    link: &Arc<Link<Cluster>>,
    query: &Query,
) -> Result<Vec<LeaseEntry>, LockError> {
    // What was released before is not to be seen any more.
    let order = &link.target.client().order;
    match query {
        Query::Key(key) => drop(order.turn(std::slice::from_ref(key)).await),
        _ => order.wait_for_all().await,
    }
    let connected = link.connected().await?;
    let listed = entries(link, &connected, query).await;
    listed.map_err(|status| failed(link, &connected, &status))
}

async fn entries(
    link: &Link<Cluster>,
    connected: &Connected<EtcdConnection>,
    query: &Query,
) -> Result<Vec<LeaseEntry>, Status> {
    let layout = &link.target.layout;
    let span = match query {
        Query::Key(key) => layout.key(key),
        Query::Prefix(prefix) => layout.prefix(prefix),
        _ => layout.prefix(""),
    };
    let found = all(connected, span).await?;
    let now = link.target.client().clock.now();
    let now = now.unwrap_or(Instant { term: 0, earliest: 0, latest: 0 });
    let mut by_key: BTreeMap<String, Vec<KeyValue>> = BTreeMap::new();
    for kv in found {
        if let Some(name) = layout.name(&kv.key) {
            by_key.entry(name.key.to_owned()).or_default().push(kv);
        }
    }
    let leases = by_key.values().flatten().map(|kv| kv.lease).collect();
    let leases = lives(connected, leases).await?;
    let described =
        by_key.into_iter().flat_map(|(key, found)| describe(layout, &key, found, &leases, now));
    Ok(described.collect())
}

/// Everything in the span, as of one revision.
async fn all(connected: &Connected<EtcdConnection>, span: Span) -> Result<Vec<KeyValue>, Status> {
    let Span(mut key, range_end) = span;
    let (mut found, mut revision) = (Vec::new(), 0);
    loop {
        let request =
            RangeRequest { key: key.clone(), range_end: range_end.clone(), limit: PAGE, revision };
        let page = connected.rpc.range(&request).await?;
        revision = page.header.unwrap_or_default().revision;
        let more = page.more;
        found.extend(page.kvs);
        match found.last() {
            Some(last) if more => {
                key.clone_from(&last.key);
                key.push(0);
            }
            _ => return Ok(found),
        }
    }
}

fn describe(
    layout: &EtcdLayout,
    key: &str,
    found: Vec<KeyValue>,
    leases: &HashMap<i64, Duration>,
    now: Instant,
) -> Vec<LeaseEntry> {
    let standing = Standing::read(layout, found);
    let left = |lease: i64| leases.get(&lease).copied().unwrap_or_default();
    let holds = standing.holds.iter().filter(|hold| !hold.is_over(now)).filter_map(|hold| {
        let mut entry = hold.describe(key, now)?;
        if hold.is_held(now) {
            let left = hold.held.as_ref().map(|entry| left(entry.lease));
            entry.ends_in = entry.ends_in.min(left.unwrap_or_default());
        }
        Some(entry)
    });
    let places = standing.places.iter().map(|place| {
        let mut entry = place.describe(key, now);
        entry.ends_in = left(place.entry.lease);
        entry
    });
    holds.chain(places).collect()
}

/// What the leases have left at most.
async fn lives(
    connected: &Connected<EtcdConnection>,
    mut leases: Vec<i64>,
) -> Result<HashMap<i64, Duration>, Status> {
    leases.sort_unstable();
    leases.dedup();
    let mut lives = HashMap::with_capacity(leases.len());
    for batch in leases.chunks(AT_ONCE) {
        let mut asked = JoinSet::new();
        for &lease in batch {
            let rpc = connected.rpc.clone();
            asked.spawn(async move { (lease, rpc.time_to_live(lease).await) });
        }
        while let Some(Ok((lease, answer))) = asked.join_next().await {
            let answer = answer?;
            // Rounded down, of what the lease has.
            let left = (answer.ttl + 1).clamp(0, answer.granted_ttl.max(0));
            lives.insert(lease, Duration::from_secs(left.cast_unsigned()));
        }
    }
    Ok(lives)
}
