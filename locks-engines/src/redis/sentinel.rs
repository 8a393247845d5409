//! Sentinels, which know the primary among servers.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use locks_core::{ErrorKind, LockError};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::StreamExt;

use super::dial::{Address, Dialer};
use super::target::RedisServer;
use crate::link::Link;

/// How often they are asked again, although none of them has said anything.
const LOOK: Duration = Duration::from_secs(10);

/// What a Sentinel publishes once it knows of another primary.
const SWITCHED: &str = "+switch-master";

/// The Sentinels of a primary.
pub(super) struct Sentinels {
    /// At least one.
    pub(super) at: Vec<Address>,
    /// What they call the primary.
    pub(super) primary: String,
    pub(super) dialer: Dialer,
}

/// What Sentinels say.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) primary: Address,
    /// How many of them answered.
    pub(super) answers: usize,
}

impl Sentinels {
    /// Asks all of them for the primary. Of different answers the latest counts: one that has
    /// missed a failover, or is cut off, names a primary that is none any more.
    ///
    /// # Errors
    /// If none of them knows: what keeps the first of them from saying.
    pub(super) async fn find(self: &Arc<Self>, name: &str) -> Result<Found, LockError> {
        let mut asked = JoinSet::new();
        for at in &self.at {
            let (sentinels, name, at) = (self.clone(), name.to_owned(), at.clone());
            asked.spawn(async move { sentinels.ask(&name, &at).await });
        }
        let mut deadline = Instant::now() + self.dialer.reach * 2;
        let (mut found, mut answers, mut failed) = (None, 0, None);
        while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, asked.join_next()).await {
            match answer {
                Ok(Ok((epoch, primary))) => {
                    answers += 1;
                    // Those that are silent do not hold the others up for long.
                    deadline = deadline.min(Instant::now() + self.dialer.reach / 4);
                    if found.as_ref().is_none_or(|(earlier, _)| *earlier < epoch) {
                        found = Some((epoch, primary));
                    }
                }
                Ok(Err(error)) => {
                    // What mends it is worth more than that one of them is away.
                    let is_better = failed.as_ref().is_none_or(|failed: &LockError| {
                        failed.kind() == ErrorKind::Unavailable
                            && error.kind() != ErrorKind::Unavailable
                    });
                    if is_better {
                        failed = Some(error);
                    }
                }
                Err(_) => {}
            }
        }
        match (found, failed) {
            (Some((_, primary)), _) => Ok(Found { primary, answers }),
            (None, Some(error)) => Err(error),
            (None, None) => Err(LockError::unavailable(name, "no Sentinel answers")),
        }
    }

    /// Asks one; to the epoch of its answer and the address.
    async fn ask(&self, name: &str, at: &Address) -> Result<(u64, Address), LockError> {
        let (mut connection, _) = self.dialer.commands(name, at, None).await?;
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("MASTER").arg(&self.primary);
        match ask.query_async::<HashMap<String, String>>(&mut connection).await {
            Ok(told) => {
                let of = |what: &str| told.get(what).map_or("", String::as_str);
                let port = of("port").parse().ok().filter(|_| !of("ip").is_empty());
                let Some(port) = port else {
                    let why = format!("the Sentinel {at} does not say where its primary is");
                    return Err(LockError::unavailable(name, why));
                };
                let primary = Address { host: of("ip").to_owned(), port };
                Ok((of("config-epoch").parse().unwrap_or(0), primary))
            }
            Err(error) => {
                let said = error.to_string();
                let refused = |why: String| {
                    LockError::new(ErrorKind::NotConfigured, "")
                        .with_backend(name)
                        .with_message(why)
                };
                if said.contains("No such master") {
                    let known = self.known(&mut connection).await;
                    return Err(refused(format!(
                        "the Sentinel {at} watches no primary `{}`, {known}: name one of those by \
                         `?sentinel=`",
                        self.primary
                    )));
                }
                if said.contains("unknown command") {
                    return Err(refused(format!(
                        "{at} is no Sentinel: name Sentinels, which listen at port 26379 unless set \
                         otherwise, or leave `sentinel=` out for a server itself"
                    )));
                }
                Err(self.dialer.unspoken(name, at, error))
            }
        }
    }

    /// The primaries that a Sentinel watches, as the middle of a sentence.
    async fn known(&self, connection: &mut redis::aio::MultiplexedConnection) -> String {
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("MASTERS");
        let told = ask.query_async::<Vec<HashMap<String, String>>>(connection).await;
        let names: Vec<_> = told
            .unwrap_or_default()
            .iter()
            .filter_map(|told| told.get("name"))
            .map(|name| format!("`{name}`"))
            .collect();
        match names.as_slice() {
            [] => "nor any other".to_owned(),
            names => format!("but {}", names.join(", ")),
        }
    }

    /// Gives the connection of that number to `primary` up as soon as a Sentinel knows of another
    /// one. Ends with that connection.
    pub(super) async fn watch(
        self: Arc<Self>,
        link: Weak<Link<RedisServer>>,
        name: String,
        number: u64,
        primary: Address,
    ) {
        let is_current = || link.upgrade().is_some_and(|link| link.is_current(number));
        let changed = |to: &Address| {
            if let Some(link) = link.upgrade() {
                link.lost(number, &format!("the primary is {to} now"));
            }
        };
        for at in self.at.iter().cycle() {
            let published = self.dialer.subscriber(&name, at, SWITCHED).await;
            let mut published = published.map(redis::aio::PubSub::into_on_message).ok();
            // What was published before is found out by asking, and so is what is not published.
            loop {
                if !is_current() {
                    return;
                }
                if let Ok(Found { primary: found, .. }) = self.find(&name).await
                    && found != primary
                {
                    return changed(&found);
                }
                let Some(published) = &mut published else { break };
                // A word of one of them; all of them are asked what is true.
                if let Ok(None) = tokio::time::timeout(LOOK, published.next()).await {
                    break;
                }
            }
            // That one is gone, or does not let us in: the next.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
