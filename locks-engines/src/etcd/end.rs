//! Ends of holds, reservations and places.

use std::sync::Arc;

use locks_core::{ErrorKind, LeaseEnd, LeaseEnding, LockError};
use tonic::Status;

use super::claim::EVICTED;
use super::client::Acquisition;
use super::clock::Instant;
use super::cluster::{Cluster, EtcdConnection, failed};
use super::fault::{is_full, is_lease_gone};
use super::layout::Kind;
use super::standing::Standing;
use super::txn;
use super::wire::TxnRequest;
use crate::link::{Connected, Link};

/// Ends what `ending` says; whether there was a hold or a reservation to end.
pub(super) async fn end(
    link: &Arc<Link<Cluster>>,
    ending: &LeaseEnding,
) -> Result<bool, LockError> {
    let client = link.target.client().clone();
    let _turn = client.order.turn(&ending.keys).await;
    let connected = link.connected().await?;
    let ended = match client.acquisition(ending.id) {
        Some(own) => own_end(link, &connected, ending, own).await,
        None => others_end(link, &connected, ending).await,
    };
    ended.map_err(|status| match reserves(ending) && is_full(&status) {
        // The adapter repeats it for as long as the lease runs, and the hold keeps the key until
        // then; without room nobody else could be granted it anyway.
        true => LockError::new(ErrorKind::LimitExceeded, "").with_backend(&link.name).with_message(
            format!(
                "the key cannot stay reserved: the database of `{}` is full; it will, if there is room \
                 again before the lease is over",
                link.name
            ),
        ),
        false => failed(link, &connected, &status),
    })
}

fn reserves(ending: &LeaseEnding) -> bool {
    matches!(ending.how, LeaseEnd::Release { reserve: true })
}

/// Ends an acquisition of this process, whose entries are known.
async fn own_end(
    link: &Link<Cluster>,
    connected: &Connected<EtcdConnection>,
    ending: &LeaseEnding,
    own: Acquisition,
) -> Result<bool, Status> {
    let (client, layout) = (link.target.client(), &link.target.layout);
    if own.keys.len() > ending.keys.len() {
        // Before it is sent: a renewal of all may be under way.
        client.change(ending.id, |known| known.ending.extend_from_slice(&ending.keys));
    }
    let keeps_reserved = reserves(ending) && own.reserve.is_some() && !own.is_past_its_least();
    let mut kinds = vec![Kind::Hold];
    if own.reserve.is_some() && !keeps_reserved {
        kinds.push(Kind::Reservation);
    }
    // Once it is granted it has no place any more, unless a claim may come late.
    if own.granted.is_none() || own.is_tainted {
        kinds.push(Kind::Place);
    }
    let names = ending.keys.iter().flat_map(|key| {
        kinds.iter().map(|kind| layout.entry(key, *kind, own.record.mode, ending.id))
    });
    let failure: Vec<_> = names.map(txn::delete).collect();
    let mut request = TxnRequest { compare: Vec::new(), success: failure.clone(), failure };
    if let Some(lease) = own.reserve.filter(|_| keeps_reserved && own.reserves_later) {
        let entry = |key, kind| layout.entry(key, kind, own.record.mode, ending.id);
        let held = ending.keys.iter().map(|key| txn::is_there(entry(key, Kind::Hold)));
        request.compare = held.collect();
        let value = own.record.write();
        request.success.extend(
            ending
                .keys
                .iter()
                .map(|key| txn::put(entry(key, Kind::Reservation), value.clone(), lease.id)),
        );
    }
    let answer = match connected.rpc.txn(&request).await {
        // The reservation would be over by now.
        Err(status) if is_lease_gone(&status) => {
            request.success.clone_from(&request.failure);
            connected.rpc.txn(&request).await?
        }
        answer => answer?,
    };
    let deleted: Vec<bool> = answer.deleted().map(|count| count > 0).collect();
    let held = deleted.chunks(kinds.len()).any(|of_key| of_key[0]);
    let reserved = kinds.contains(&Kind::Reservation)
        && !reserves(ending)
        && deleted.chunks(kinds.len()).any(|of_key| of_key[1]);
    for key in &ending.keys {
        connected.watches.leave(key, ending.id);
    }
    let was_held = held && !own.is_past_its_most();
    let mut own = own;
    own.keys.retain(|key| !ending.keys.contains(key));
    if !own.keys.is_empty() {
        client.change(ending.id, |known| known.keys = own.keys);
        return Ok(was_held || reserved);
    }
    // A renewal that has found it gone may have seen to it meanwhile.
    if let Some(mut over) = client.forget(ending.id) {
        // What others left for it is attached to its lease.
        over.is_tainted |= over.granted.is_some() && !held;
        // With reservations left on some of its keys their lease stays.
        let reserved = keeps_reserved || over.record.keys > ending.keys.len();
        client.dispose(&connected.rpc, over, reserved);
    }
    Ok(was_held || reserved)
}

/// Ends an acquisition that this process does not know, and tells its client.
async fn others_end(
    link: &Link<Cluster>,
    connected: &Connected<EtcdConnection>,
    ending: &LeaseEnding,
) -> Result<bool, Status> {
    let layout = &link.target.layout;
    let looks = ending.keys.iter().map(|key| txn::range(layout.key(key))).collect();
    let request = TxnRequest { compare: Vec::new(), success: looks, failure: Vec::new() };
    let found = connected.rpc.txn(&request).await?;
    let now = link.target.client().clock.now();
    let now = now.unwrap_or(Instant { term: 0, earliest: 0, latest: 0 });
    let (mut removed, mut notices, mut ended) = (Vec::new(), Vec::new(), false);
    for (key, found) in ending.keys.iter().zip(found.into_ranges()) {
        let standing = Standing::read(layout, found);
        removed.extend(standing.own_place(ending.id).map(|place| place.entry.name.clone()));
        let Some(hold) = standing.own(ending.id) else { continue };
        let held = hold.is_held(now);
        ended |= held || (!reserves(ending) && !hold.is_over(now));
        if let Some(entry) = &hold.held {
            removed.push(entry.name.clone());
            if ending.how == LeaseEnd::Remove && held && entry.record.client != link.client {
                let name = layout.notice(&entry.record.client, ending.id, key);
                notices.push(txn::put(name, EVICTED.as_bytes().to_vec(), entry.lease));
            }
        }
        let reserved = hold.reserved.as_ref().filter(|_| !reserves(ending));
        removed.extend(reserved.map(|entry| entry.name.clone()));
    }
    if removed.is_empty() {
        return Ok(false);
    }
    let deletions = removed.into_iter().map(txn::delete);
    let mut request =
        TxnRequest { compare: Vec::new(), success: deletions.collect(), failure: Vec::new() };
    let without = request.clone();
    request.success.extend(notices);
    match connected.rpc.txn(&request).await {
        // Its lease has just run out: there is nobody to tell. Or there is no room to tell it: its
        // client finds out when it renews.
        Err(status) if is_lease_gone(&status) || is_full(&status) => {
            connected.rpc.txn(&without).await?
        }
        answer => answer?,
    };
    Ok(ended)
}
