//! Renewals: leases are kept alive, and a look whether the holds stand goes beside that.

use std::sync::Arc;
use std::time::Duration;

use locks_core::{
    AcquisitionId, BootClock, Clock as _, LeaseRenewal, LockError, LostCause, Renewed,
};
use tonic::Status;

use super::claim::{EVICTED, HELD_TOO_LONG, STOLEN};
use super::client::{Acquisition, Granted, Lease};
use super::clock::{Clock, Instant};
use super::cluster::{Cluster, EtcdConnection, failed};
use super::layout::{EtcdLayout, Kind};
use super::record::Record;
use super::standing::Standing;
use super::txn;
use super::wire::{Operation, RangeRequest, TxnRequest};
use crate::link::{Connected, Link};

/// How many entries are looked at by one transaction: etcd takes 128 operations unless told
/// otherwise.
const BATCH: usize = 100;
/// How many entries are stamped anew by one batch of renewals after an election; the rest by the
/// next.
const STAMPED: usize = 32;

/// One renewal, and what is known of its hold.
struct Renewing<'a> {
    asked: &'a LeaseRenewal,
    /// `None`: there is nothing of it.
    own: Option<Acquisition>,
    stands: bool,
}

/// Renews holds; answers in the same order.
///
/// # Errors
/// That of a refresh, if nothing else was asked for; else those of the calls.
pub(super) async fn renew(
    link: &Arc<Link<Cluster>>,
    renewals: &[LeaseRenewal],
) -> Result<Vec<Renewed>, LockError> {
    let connected = link.connected().await?;
    let fail = |status: Status| failed(link, &connected, &status);
    let client = link.target.client().clone();
    let mut all = Vec::with_capacity(renewals.len());
    for asked in renewals {
        // By the same name with other keys it is not the same.
        let is_of = |own: &Acquisition| asked.keys.iter().all(|key| own.keys.contains(key));
        let own = match client.acquisition(asked.id).filter(is_of) {
            Some(own) => Some(own),
            None => find(link, &connected, asked).await.map_err(fail)?,
        };
        all.push(Renewing { asked, own, stands: true });
    }
    let sent = BootClock.now();
    let leases = all.iter().map(|renewing| {
        let own = renewing.own.as_ref()?;
        Some(connected.keep_alive.send(own.lease.id))
    });
    // All are sent before the first answer is waited for.
    let leases: Vec<_> = leases.collect();
    let term = look(link, &connected, &mut all).await.map_err(fail)?;
    Clock::tend(&client.clock, &connected.rpc, term);
    let mut answers = Vec::with_capacity(all.len());
    let (mut stamps, mut unrefreshed) = (STAMPED, None);
    for (renewing, lease) in all.into_iter().zip(leases) {
        let Renewing { asked, own, stands } = renewing;
        let (Some(mut own), Some(lease)) = (own, lease) else {
            answers.push(Renewed::Gone(LostCause::Forgotten));
            continue;
        };
        let life = lease.map_err(fail)?.status().await.map_err(fail)?;
        if life.alive && life.term != term {
            // A member that does not lead any more may have answered.
            return Err(LockError::unavailable(&link.name, "it is electing a leader"));
        }
        if own.is_past_its_most() {
            answers.push(Renewed::Gone(LostCause::HeldTooLong));
            continue;
        }
        if life.alive && !stands && is_ending(link, asked) {
            answers.push(Renewed::Unknown);
            continue;
        }
        if !life.alive || !stands {
            let cause = cause(link, &connected, asked.id, life.alive).await.map_err(fail)?;
            if !own.is_foreign {
                gone(link, &connected, asked);
            }
            answers.push(Renewed::Gone(cause));
            continue;
        }
        own.lease.since = sent;
        let timed = client.clock.now().filter(|now| now.term == term);
        let is_of_earlier_term = timed.is_some_and(|now| own.record.term != now.term);
        if asked.refresh {
            match refresh(link, &connected, asked, &mut own).await {
                Ok(true) => {}
                Ok(false) => {
                    answers.push(Renewed::Gone(LostCause::Forgotten));
                    continue;
                }
                // It costs the others nothing.
                Err(status) => {
                    unrefreshed = Some(fail(status));
                    answers.push(Renewed::Unknown);
                    continue;
                }
            }
        } else if is_of_earlier_term && stamps > 0 && !own.is_foreign {
            stamps -= 1;
            match restamp(link, &connected, asked, &own, timed).await {
                Ok(record) => own.record = record,
                // The lease was kept alive, and nothing but ages needs the stamp: the next batch
                // tries again.
                Err(status) => {
                    stamps = 0;
                    drop(fail(status));
                }
            }
        }
        client.change(asked.id, |known| {
            (known.lease, known.record, known.granted) = (own.lease, own.record, own.granted);
        });
        answers.push(Renewed::Kept);
    }
    let unrefreshed =
        unrefreshed.filter(|_| answers.iter().all(|answer| *answer == Renewed::Unknown));
    unrefreshed.map_or(Ok(answers), Err)
}

/// Whether the holds stand, of all of their keys; to the election that the answers are of.
async fn look(
    link: &Link<Cluster>,
    connected: &Connected<EtcdConnection>,
    all: &mut [Renewing<'_>],
) -> Result<u64, Status> {
    let layout = &link.target.layout;
    let names = all.iter().enumerate().flat_map(|(at, renewing)| {
        let mode = renewing.own.as_ref().map(|own| own.record.mode);
        let keys = renewing.asked.keys.iter().filter_map(move |key| Some((key, mode?)));
        keys.map(move |(key, mode)| (at, layout.entry(key, Kind::Hold, mode, renewing.asked.id)))
    });
    let names: Vec<(usize, Vec<u8>)> = names.collect();
    let mut term = 0;
    for batch in names.chunks(BATCH) {
        let success = batch.iter().map(|(_, name)| txn::get(name.clone())).collect();
        let request = TxnRequest { compare: Vec::new(), success, failure: Vec::new() };
        let answer = connected.rpc.txn(&request).await?;
        term = answer.header().raft_term.max(term);
        for ((at, _), found) in batch.iter().zip(answer.into_ranges()) {
            all[*at].stands &= !found.is_empty();
        }
    }
    Ok(term)
}

/// A hold that this process does not know: another client's, or one of which nothing is left.
async fn find(
    link: &Link<Cluster>,
    connected: &Connected<EtcdConnection>,
    asked: &LeaseRenewal,
) -> Result<Option<Acquisition>, Status> {
    let layout = &link.target.layout;
    for key in &asked.keys {
        let span = layout.key(key);
        let request = RangeRequest { key: span.0, range_end: span.1, limit: 0, revision: 0 };
        let found = connected.rpc.range(&request).await?;
        let standing = Standing::read(layout, found.kvs);
        let held = standing.own(asked.id).and_then(|own| own.held.clone());
        if let Some(entry) = held {
            let ttl = entry.record.ttl;
            let lease = Lease { id: entry.lease, ttl, since: BootClock.now() };
            return Ok(Some(Acquisition {
                lease,
                reserve: None,
                reserves_later: false,
                record: entry.record,
                keys: asked.keys.clone(),
                ending: Vec::new(),
                placed: None,
                granted: None,
                is_tainted: false,
                is_foreign: true,
            }));
        }
    }
    Ok(None)
}

/// How a hold has ended.
async fn cause(
    link: &Link<Cluster>,
    connected: &Connected<EtcdConnection>,
    id: AcquisitionId,
    has_lease: bool,
) -> Result<LostCause, Status> {
    let span = link.target.layout.notices(&link.client, id);
    let request = RangeRequest { key: span.0, range_end: span.1, limit: 1, revision: 0 };
    let found = connected.rpc.range(&request).await?;
    let said = found.kvs.first().and_then(|kv| std::str::from_utf8(&kv.value).ok());
    Ok(match said {
        Some(STOLEN) => LostCause::Stolen,
        Some(EVICTED) => LostCause::Evicted,
        Some(HELD_TOO_LONG) => LostCause::HeldTooLong,
        _ if has_lease => LostCause::Forgotten,
        _ => LostCause::Expired,
    })
}

/// Whether one of the keys ends here meanwhile, and so was not found although the others may stand.
fn is_ending(link: &Link<Cluster>, asked: &LeaseRenewal) -> bool {
    let known = link.target.client().acquisition(asked.id);
    known.is_some_and(|known| asked.keys.iter().any(|key| known.ending.contains(key)))
}

/// What is left of a hold that is gone ends with its lease: the notice of it, too.
fn gone(link: &Link<Cluster>, connected: &Connected<EtcdConnection>, asked: &LeaseRenewal) {
    let client = link.target.client();
    // Of several keys the others are ended one by one.
    let mut has_others = true;
    client.change(asked.id, |known| {
        known.is_tainted = true;
        has_others = known.keys.len() > 1;
    });
    if has_others {
        return;
    }
    if let Some(mut own) = client.forget(asked.id) {
        own.is_tainted = true;
        client.dispose(&connected.rpc, own, true);
    }
}

/// Writes a hold's times down on the clock of another election; to its record as it is then.
async fn restamp(
    link: &Link<Cluster>,
    connected: &Connected<EtcdConnection>,
    asked: &LeaseRenewal,
    own: &Acquisition,
    clock: Option<Instant>,
) -> Result<Record, Status> {
    let mut own = own.clone();
    if let Some(granted) = own.granted {
        let now = BootClock.now();
        let (held, refreshed) = (now.since(granted.at), now.since(granted.refreshed));
        own.record.stamp_both(clock, held, refreshed);
        let request = stamp(&link.target.layout, asked.id, &asked.keys, &own);
        connected.rpc.txn(&request).await?;
    }
    Ok(own.record)
}

/// Lets the hold's age begin again. Returns `false` if the hold is gone.
async fn refresh(
    link: &Link<Cluster>,
    connected: &Connected<EtcdConnection>,
    asked: &LeaseRenewal,
    own: &mut Acquisition,
) -> Result<bool, Status> {
    for _ in 0..3 {
        let sent = BootClock.now();
        let clock = link.target.client().clock.now();
        let before = (own.record.term, own.record.granted);
        let held = own.granted.map_or(Duration::ZERO, |granted| sent.since(granted.at));
        own.record.stamp_both(clock, held, Duration::ZERO);
        // Its bounds go on as they were.
        if own.record.term == before.0 {
            own.record.granted = before.1;
        }
        let request = stamp(&link.target.layout, asked.id, &asked.keys, own);
        if !connected.rpc.txn(&request).await?.succeeded {
            return Ok(false);
        }
        let now = BootClock.now();
        if let Some(granted) = &mut own.granted {
            *granted = Granted { refreshed: now, ..*granted };
        }
        if now.since(sent) <= super::record::LATE {
            break;
        }
    }
    Ok(true)
}

/// Writes the record of an acquisition into its entries, if all of its holds stand.
pub(super) fn stamp(
    layout: &EtcdLayout,
    id: AcquisitionId,
    keys: &[String],
    own: &Acquisition,
) -> TxnRequest {
    let (mode, value) = (own.record.mode, own.record.write());
    let entry = |key: &String, kind| layout.entry(key, kind, mode, id);
    let compare = keys.iter().map(|key| txn::is_there(entry(key, Kind::Hold))).collect();
    let holds = keys.iter().map(|key| txn::change(entry(key, Kind::Hold), value.clone()));
    let success: Vec<Operation> = holds.collect();
    TxnRequest { compare, success, failure: Vec::new() }
}
