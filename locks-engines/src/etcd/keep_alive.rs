//! Leases are kept alive on one stream, which answers in its order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tonic::Status;

use super::rpc::Rpc;
use super::wire::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};

/// The stream of a connection.
#[derive(Clone)]
pub(super) struct KeepAlive {
    requests: UnboundedSender<LeaseKeepAliveRequest>,
    pending: Arc<Mutex<Pending>>,
    patience: Duration,
}

/// Those who wait for an answer, the first that is due first; `None` once the stream has ended.
type Pending = Option<VecDeque<oneshot::Sender<LeaseKeepAliveResponse>>>;

/// What a lease has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeaseStatus {
    /// Whether there still is such a lease.
    pub(super) alive: bool,
    /// The election that the member knew of when it answered.
    pub(super) term: u64,
}

/// A lease that was told to be kept alive.
pub(super) struct PendingRenewal {
    lease: i64,
    answer: oneshot::Receiver<LeaseKeepAliveResponse>,
    patience: Duration,
}

impl KeepAlive {
    /// Opens the stream. `ended` is called once, when it has come to its end.
    pub(super) async fn open(
        rpc: &Rpc,
        ended: impl FnOnce(String) + Send + 'static,
    ) -> Result<Self, Status> {
        let (requests, outgoing) = unbounded_channel();
        let pending = Arc::new(Mutex::new(Some(VecDeque::new())));
        let stream = Self { requests, pending: pending.clone(), patience: rpc.patience() };
        // It is opened with the first request: some proxies answer a stream no sooner.
        let path = "/etcdserverpb.Lease/LeaseKeepAlive";
        let first = stream.send(0)?;
        let mut answers =
            rpc.stream::<LeaseKeepAliveRequest, LeaseKeepAliveResponse>(path, outgoing).await?;
        tokio::spawn(async move {
            let why = loop {
                match answers.message().await {
                    Ok(Some(answer)) => {
                        let waiting = lock(&pending).as_mut().and_then(VecDeque::pop_front);
                        // Who has given up is answered all the same.
                        let _ = waiting.map(|waiting| waiting.send(answer));
                    }
                    Ok(None) => break "the stream of renewals ended".to_owned(),
                    Err(status) => break status.message().to_owned(),
                }
            };
            drop(lock(&pending).take());
            ended(why);
        });
        drop(first);
        Ok(stream)
    }

    /// Lets the lease run for its whole length again, from now.
    pub(super) async fn keep(&self, lease: i64) -> Result<LeaseStatus, Status> {
        self.send(lease)?.status().await
    }

    /// As [`keep`](Self::keep), sent on return.
    pub(super) fn send(&self, id: i64) -> Result<PendingRenewal, Status> {
        let (sender, receiver) = oneshot::channel();
        let mut pending = lock(&self.pending);
        let queue = pending.as_mut().ok_or_else(ended)?;
        // Sent while the queue is held, so that both have one order.
        self.requests.send(LeaseKeepAliveRequest { id }).map_err(|_| ended())?;
        queue.push_back(sender);
        Ok(PendingRenewal { lease: id, answer: receiver, patience: self.patience })
    }
}

impl PendingRenewal {
    /// Waits for the answer.
    pub(super) async fn status(self) -> Result<LeaseStatus, Status> {
        let answer = tokio::time::timeout(self.patience, self.answer).await;
        let answer = answer.map_err(|_| silent())?.map_err(|_| ended())?;
        let term = answer.header.unwrap_or_default().raft_term;
        Ok(LeaseStatus { alive: answer.ttl > 0 && answer.id == self.lease, term })
    }
}

fn silent() -> Status {
    Status::unavailable("renewals are not answered")
}

fn ended() -> Status {
    Status::unavailable("the stream of renewals ended")
}

fn lock(pending: &Mutex<Pending>) -> std::sync::MutexGuard<'_, Pending> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}
