//! What one process knows of its own acquisitions, whatever connection it has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use locks_core::{AcquisitionId, BootClock, Clock as _, Moment};
use tonic::Status;

use super::clock::Clock;
use super::order::Order;
use super::record::Record;
use super::rpc::Rpc;

/// How long before its end a lease is not relied upon any more.
const NEARLY: Duration = Duration::from_millis(500);

/// A process's side of a cluster.
#[derive(Default)]
pub(super) struct Client {
    pub(super) order: Arc<Order>,
    pub(super) clock: Arc<Clock>,
    acquisitions: Mutex<HashMap<AcquisitionId, Acquisition>>,
    /// Leases that nothing is attached to, by their seconds. Nobody renews them, so most of them
    /// end here.
    idle: Mutex<HashMap<u64, Vec<Lease>>>,
}

/// A lease, and when it was last known for certain to run for its whole length: by a member that
/// led.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    pub(super) id: i64,
    pub(super) ttl: u64,
    pub(super) since: Moment,
}

/// What an acquisition has in the cluster.
#[derive(Clone, Debug)]
pub(super) struct Acquisition {
    /// Its alone: what has ended takes nothing else with it, and what runs out is its own.
    pub(super) lease: Lease,
    /// That of its reservations, which outlive it.
    pub(super) reserve: Option<Lease>,
    /// They begin with a release that asks for them, and not with the grant.
    pub(super) reserves_later: bool,
    /// As its entries have it.
    pub(super) record: Record,
    pub(super) keys: Vec<String>,
    /// Those of several keys whose end has begun, if the others go on.
    pub(super) ending: Vec<String>,
    /// When its places were created, key by key.
    pub(super) placed: Option<Vec<i64>>,
    /// When the answer to its grant, or to its last refresh, had come.
    pub(super) granted: Option<Granted>,
    /// A step has failed and may yet be carried out, so that its lease is of no further use.
    pub(super) is_tainted: bool,
    /// The lease is another client's.
    pub(super) is_foreign: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Granted {
    pub(super) at: Moment,
    pub(super) refreshed: Moment,
}

impl Lease {
    /// Whether it runs for so long from `then` on, without being kept alive.
    pub(super) fn lasts(&self, then: Moment, length: Duration) -> bool {
        then.since(self.since).saturating_add(length) <= Duration::from_secs(self.ttl)
    }

    fn runs(&self) -> bool {
        let life = Duration::from_secs(self.ttl).saturating_sub(NEARLY);
        BootClock.now() < self.since.after(life)
    }
}

impl Acquisition {
    /// Whether it has been held for as long as it may be.
    pub(super) fn is_past_its_most(&self) -> bool {
        let held = self.granted.map(|granted| BootClock.now().since(granted.at));
        held.zip(self.record.most()).is_some_and(|(held, most)| held >= most)
    }

    /// Whether its reservation is over for certain.
    pub(super) fn is_past_its_least(&self) -> bool {
        let held = self.granted.map(|granted| BootClock.now().since(granted.at));
        held.is_some_and(|held| held >= self.record.least())
    }
}

impl Client {
    pub(super) fn acquisition(&self, id: AcquisitionId) -> Option<Acquisition> {
        self.acquisitions().get(&id).cloned()
    }

    pub(super) fn keep(&self, id: AcquisitionId, acquisition: Acquisition) {
        let mut acquisitions = self.acquisitions();
        // Those whose end never got through are of no use once their leases are over.
        if acquisitions.len() == acquisitions.capacity() {
            let now = BootClock.now();
            acquisitions.retain(|_, one| {
                // Seconds that another client has written may be any number.
                now < one.lease.since.after(Duration::from_secs(one.lease.ttl).saturating_mul(4))
            });
        }
        acquisitions.insert(id, acquisition);
    }

    pub(super) fn change(&self, id: AcquisitionId, change: impl FnOnce(&mut Acquisition)) {
        if let Some(acquisition) = self.acquisitions().get_mut(&id) {
            change(acquisition);
        }
    }

    pub(super) fn forget(&self, id: AcquisitionId) -> Option<Acquisition> {
        self.acquisitions().remove(&id)
    }

    /// Returns a lease of so many seconds that nothing is attached to.
    ///
    /// # Errors
    /// Those of the call, where there is none yet.
    pub(super) async fn lease(&self, rpc: &Rpc, ttl: u64) -> Result<Lease, Status> {
        let idle = {
            let mut idle = self.idle();
            let leases = idle.entry(ttl).or_default();
            leases.retain(Lease::runs);
            leases.pop()
        };
        if let Some(lease) = idle {
            return Ok(lease);
        }
        let since = BootClock.now();
        let id = rpc.grant_lease(ttl.cast_signed(), 0).await?;
        Ok(Lease { id, ttl, since })
    }

    /// Takes a lease back that nothing is attached to any more, and nothing will be.
    pub(super) fn give_back(&self, lease: Lease) {
        let mut idle = self.idle();
        idle.retain(|_, leases| {
            leases.retain(Lease::runs);
            !leases.is_empty()
        });
        idle.entry(lease.ttl).or_default().push(lease);
    }

    /// Disposes of the leases of an acquisition that is over; `reserved`: but for its reservations.
    pub(super) fn dispose(&self, rpc: &Rpc, over: Acquisition, reserved: bool) {
        match (over.is_foreign, over.is_tainted) {
            (true, _) => {}
            (false, true) => Self::revoke(rpc, over.lease),
            (false, false) => self.give_back(over.lease),
        }
        if let Some(lease) = over.reserve.filter(|_| !reserved) {
            Self::revoke(rpc, lease);
        }
    }

    /// Has a lease end with everything that is or will be attached to it.
    fn revoke(rpc: &Rpc, lease: Lease) {
        let rpc = rpc.clone();
        tokio::spawn(async move {
            // Else it ends by itself.
            let _ = rpc.revoke_lease(lease.id).await;
        });
    }

    fn acquisitions(&self) -> MutexGuard<'_, HashMap<AcquisitionId, Acquisition>> {
        self.acquisitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<u64, Vec<Lease>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
