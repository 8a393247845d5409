//! A cluster as what a client connects to: one of its members at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use locks_core::fork::PerProcess;
use locks_core::{ErrorKind, LockError};
use tonic::Status;
use tonic::transport::Endpoint;

use super::client::Client;
use super::fault::{EtcdFault, whole};
use super::keep_alive::KeepAlive;
use super::layout::EtcdLayout;
use super::rpc::{Login, Rpc};
use super::watch::Watches;
use crate::link::{Connected, Link, Target};

/// Long enough for a handshake with any member that answers at all.
const SHORTEST: Duration = Duration::from_millis(300);

/// What a client has of the member that it is connected to.
#[derive(Clone)]
pub(super) struct EtcdConnection {
    pub(super) rpc: Rpc,
    pub(super) keep_alive: KeepAlive,
    pub(super) watches: Arc<Watches>,
}

/// The members, and what is asked of them.
pub(super) struct Cluster {
    /// At least one.
    pub(super) members: Vec<Endpoint>,
    pub(super) login: Option<Login>,
    pub(super) layout: EtcdLayout,
    /// How long it may take to reach a member.
    pub(super) reach: Duration,
    /// How long a member that was reached may be silent before another one is asked.
    pub(super) silence: Duration,
    /// Where to begin.
    pub(super) next: AtomicUsize,
    pub(super) clients: PerProcess<Arc<Client>>,
}

impl Cluster {
    /// What this process knows of its acquisitions.
    pub(super) fn client(&self) -> &Arc<Client> {
        self.clients.get_or_init(Arc::default)
    }

    /// Connects to one member.
    async fn join(
        &self,
        name: &str,
        member: &Endpoint,
        limit: Duration,
    ) -> Result<(Rpc, String), LockError> {
        let unavailable =
            |why: String| LockError::unavailable(name, format!("{}: {why}", member.uri()));
        let connected = tokio::time::timeout(limit, member.connect()).await;
        let channel = connected
            .map_err(|_| unavailable(format!("no connection within {limit:?}")))?
            .map_err(|error| unavailable(whole(&error)))?;
        let rpc = Rpc::new(channel, self.login.clone(), self.silence, self.reach);
        let fault = |status: Status| {
            let is_plain = member.uri().scheme_str() == Some("http");
            // The library says no more of a connection that ends in the middle of a call.
            if is_plain && status.message().contains("transport error") {
                let why = "it ended the connection: if it speaks TLS, say so by `tls=yes`, or name its \
                           authority by `ca=`";
                return unavailable(why.into());
            }
            EtcdFault::of(name, &status).error
        };
        rpc.log_in().await.map_err(fault)?;
        let status = rpc.status().await.map_err(fault)?;
        if !is_recent(&status.version) {
            let text = format!(
                "`{name}` is version {} of etcd, and locks need 3.4 or later",
                status.version
            );
            return Err(LockError::new(ErrorKind::NotConfigured, "").with_message(text));
        }
        if status.is_learner {
            return Err(unavailable("it is a learner, which answers nothing yet".into()));
        }
        if status.leader == 0 {
            return Err(unavailable("it has no leader: most members are out of its reach".into()));
        }
        Ok((rpc, status.version))
    }
}

/// 3.4 brought comparisons of ranges.
fn is_recent(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (3, 4)
}

impl Target for Cluster {
    type Connection = EtcdConnection;

    async fn connect(
        link: &Arc<Link<Self>>,
        number: u64,
    ) -> Result<(EtcdConnection, String), LockError> {
        let cluster = &link.target;
        let count = cluster.members.len();
        let limit = (cluster.reach / u32::try_from(count).unwrap_or(1)).max(SHORTEST);
        let mut failed = None;
        for _ in 0..count {
            let at = cluster.next.load(Ordering::Relaxed) % count;
            // What ends with an attempt that has failed is not the connection.
            let failed_before = Arc::new(AtomicBool::new(false));
            let joined = async {
                let (rpc, version) = cluster.join(&link.name, &cluster.members[at], limit).await?;
                let fault = |status: Status| EtcdFault::of(&link.name, &status).error;
                let ended = {
                    let (link, failed_before) = (Arc::downgrade(link), failed_before.clone());
                    move |why: String| {
                        let link = link.upgrade();
                        if let Some(link) = link.filter(|_| !failed_before.load(Ordering::SeqCst)) {
                            lost(&link, number, &why);
                        }
                    }
                };
                let keep_alive = KeepAlive::open(&rpc, ended.clone()).await.map_err(fault)?;
                let watches = Watches::open(&rpc, link, ended).await.map_err(fault)?;
                let clock = &cluster.client().clock;
                clock.read(&rpc).await.map_err(fault)?;
                super::clock::Clock::tend(clock, &rpc, u64::MAX);
                Ok((EtcdConnection { rpc, keep_alive, watches }, version))
            };
            // Boxed: it is long, and seldom.
            match Box::pin(joined).await {
                Ok(joined) => return Ok(joined),
                Err(error) => {
                    failed_before.store(true, Ordering::SeqCst);
                    cluster.next.fetch_add(1, Ordering::Relaxed);
                    failed = Some(error);
                }
            }
        }
        Err(failed.unwrap_or_else(|| LockError::unavailable(&link.name, "it has no members")))
    }
}

/// Takes a failed call into account, and returns its error.
pub(super) fn failed(
    link: &Link<Cluster>,
    connected: &Connected<EtcdConnection>,
    status: &Status,
) -> LockError {
    let EtcdFault { error, reconnect } = EtcdFault::of(&link.name, status);
    if reconnect {
        lost(link, connected.number(), &error.to_string());
    }
    error
}

/// Gives a connection up; the next one is to another member.
fn lost(link: &Link<Cluster>, number: u64, why: &str) {
    if link.lost(number, why) {
        link.target.next.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_compare_ranges_are_taken() {
        for (version, taken) in [
            ("3.4.23", true),
            ("3.10.0", true),
            ("4.0.0-rc.1", true),
            ("3.3.27", false),
            ("", false),
        ] {
            assert_eq!(is_recent(version), taken, "{version}");
        }
    }
}
