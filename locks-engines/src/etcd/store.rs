//! The store: what each step needs before it is begun.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use locks_core::{
    BackendInfo, Claimed, ErrorKind, LeaseClaim, LeaseEnding, LeaseEntry, LeaseRenewal, LeaseStore,
    LockError, Op, Query, Renewed, Wake, WakeSink,
};

use super::cluster::Cluster;
use super::{SHORTEST_LEASE, claim, end, list, renew};
use crate::link::Links;

/// How many keys one transaction has room for, with up to four comparisons for each: etcd takes
/// at most 128.
const KEYS: usize = 32;

/// The keys of one namespace in one cluster.
pub(super) struct EtcdStore {
    pub(super) about: BackendInfo,
    pub(super) links: Arc<Links<Cluster>>,
}

impl EtcdStore {
    /// # Errors
    /// What the cluster cannot do for this claim.
    fn check(&self, claim: &LeaseClaim) -> Result<(), LockError> {
        let name = &self.about.name;
        let refused = |text: String| {
            Err(LockError::new(ErrorKind::LimitExceeded, &*claim.keys[0]).with_message(text))
        };
        if claim.lease < SHORTEST_LEASE {
            return refused(format!(
                "a lease of {:?} is too short: `{name}` has none below {SHORTEST_LEASE:?}, since etcd \
                 counts them in whole seconds and looks for those that are over twice a second",
                claim.lease
            ));
        }
        if claim.keys.len() > KEYS {
            return refused(format!(
                "`{name}` takes at most {KEYS} keys at a time, and this request has {}: lock fewer, or \
                 one key that stands for all of them",
                claim.keys.len()
            ));
        }
        Ok(())
    }
}

impl LeaseStore for EtcdStore {
    fn about(&self) -> &BackendInfo {
        &self.about
    }

    fn claim<'a>(&'a self, claim: &'a LeaseClaim) -> Op<'a, Claimed> {
        if let Err(error) = self.check(claim) {
            return Op::failed(error);
        }
        let claim = claim.clone();
        self.links.drive(async move |link| claim::claim(&link, &claim).await)
    }

    fn renew<'a>(&'a self, renewals: &'a [LeaseRenewal]) -> Op<'a, Vec<Renewed>> {
        if renewals.is_empty() {
            return Op::ready(Vec::new());
        }
        let renewals = renewals.to_vec();
        self.links.drive(async move |link| renew::renew(&link, &renewals).await)
    }

    fn end<'a>(&'a self, ending: &'a LeaseEnding) -> Op<'a, bool> {
        let ending = ending.clone();
        self.links.drive(async move |link| end::end(&link, &ending).await)
    }

    fn list<'a>(&'a self, query: &'a Query) -> Op<'a, Vec<LeaseEntry>> {
        let query = query.clone();
        self.links.drive(async move |link| list::list(&link, &query).await)
    }

    fn wakes(&self) -> Option<Op<'_, Wake>> {
        None
    }

    fn subscribe(&self, sink: WakeSink) -> bool {
        self.links.subscribe(sink)
    }

    fn leases(&self) -> RangeInclusive<Duration> {
        SHORTEST_LEASE..=Duration::MAX
    }

    fn served_by(&self) -> Option<String> {
        self.links.served_by("etcd ")
    }

    fn works_in_children(&self) -> bool {
        true
    }
}
