//! What makes a grant certain, and what is written down of it.

use std::time::Duration;

use locks_core::{BootClock, Clock as _, LockError, Moment};

use super::{Came, Claiming, Plan};
use crate::etcd::client::Granted;
use crate::etcd::keep_alive::LeaseStatus;
use crate::etcd::layout::Kind;
use crate::etcd::record::LATE;
use crate::etcd::wire::{Operation, TxnRequest};
use crate::etcd::{renew, txn};

impl Claiming<'_> {
    /// Makes sure that the lease was kept alive by the member that leads still: a member that was
    /// cut off answers for a moment. A question to the majority afterwards tells.
    pub(super) async fn confirm(&mut self) -> Result<bool, LockError> {
        for _ in 0..3 {
            let sent = BootClock.now();
            let life = self.connected.keep_alive.keep(self.own.lease.id).await;
            let LeaseStatus { alive, term } = life.map_err(|status| self.fail(&status))?;
            let request = self.request(Plan::Look, None);
            let answer = self.connected.rpc.txn(&request).await;
            let answer = answer.map_err(|status| self.fail(&status))?;
            if answer.header().raft_term == term {
                self.own.lease.since = sent;
                return Ok(alive);
            }
        }
        Err(LockError::unavailable(&self.link.name, "it is electing a leader"))
    }

    /// Writes the time down once more if the answer has come late.
    pub(super) async fn restamp(&mut self, mut sent: Moment) -> Result<(), LockError> {
        for _ in 0..3 {
            if BootClock.now().since(sent) <= LATE {
                break;
            }
            sent = BootClock.now();
            self.own.record.stamp(self.client().clock.now(), Duration::ZERO);
            self.write_stamp().await?;
        }
        Ok(())
    }

    pub(super) async fn write_stamp(&self) -> Result<(), LockError> {
        let request = renew::stamp(self.layout(), self.claim.id, &self.claim.keys, &self.own);
        let written = self.connected.rpc.txn(&request).await;
        written.map(drop).map_err(|status| self.fail(&status))
    }

    /// Removes what it was granted, since it cannot be reserved.
    pub(super) async fn renounce(&mut self) -> Result<Came, LockError> {
        let kinds = [Kind::Hold, Kind::Reservation];
        let names = self.claim.keys.iter().flat_map(|key| kinds.map(|kind| self.entry(key, kind)));
        let success = names.map(txn::delete).collect();
        let request = TxnRequest { compare: Vec::new(), success, failure: Vec::new() };
        self.connected.rpc.txn(&request).await.map_err(|status| self.fail(&status))?;
        if let Some(lease) = self.own.reserve {
            let lease = self.client().lease(&self.connected.rpc, lease.ttl).await;
            self.own.reserve = Some(lease.map_err(|status| self.fail(&status))?);
        }
        self.look().await
    }

    pub(super) fn note_grant(&mut self) {
        let now = BootClock.now();
        self.own.granted.get_or_insert(Granted { at: now, refreshed: now });
        self.own.placed = None;
        for key in &self.claim.keys {
            self.connected.watches.leave(key, self.claim.id);
        }
    }

    /// Does what a grant had no room for. What is not done is done at its end, or is of no great
    /// use.
    pub(super) async fn follow_up(&mut self, later: &[Operation]) {
        for part in later.chunks(txn::MOST) {
            let success = part.to_vec();
            let request = TxnRequest { compare: Vec::new(), success, failure: Vec::new() };
            self.own.is_tainted |= self.connected.rpc.txn(&request).await.is_err();
        }
    }
}
