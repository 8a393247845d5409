//! The connection that only listens, where those of the steps go through a pooler.
//!
//! What it hears are hints: without them a wait takes longer, and nothing else may come of it. So
//! it fails, and is tried again, beside the connection of the steps.

use std::sync::{Arc, Weak};
use std::time::Duration;

use locks_core::Wake;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio_postgres::Config;

use super::fault::During;
use super::session::Session;
use super::target::{HintsBy, PostgresServer, set};
use crate::link::Link;

/// How often it is looked whether notifications still arrive.
const PROBE: Duration = Duration::from_secs(10);

/// The pause before another try, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), PROBE);

/// The interval at which waiters claim again while none is called.
const POLL: Duration = Duration::from_millis(50);

/// Where to listen.
pub(super) struct ListenTarget {
    pub(super) config: Config,
    /// Its host and port, for people.
    pub(super) name: String,
}

/// A listener for one connection of the steps, tried again and again. Ends with its value.
pub(super) struct Listening(AbortHandle);

struct Listener {
    link: Weak<Link<PostgresServer>>,
    steps: Arc<Session>,
    /// That of the connection of the steps, and its server's version.
    number: u64,
    version: String,
}

impl Listening {
    /// Begins, and tells by the receiver what came of the first try: why it failed, if it did.
    pub(super) fn start(
        link: &Arc<Link<PostgresServer>>,
        steps: Arc<Session>,
        number: u64,
        version: String,
    ) -> (Self, oneshot::Receiver<Option<String>>) {
        let (sender, first) = oneshot::channel();
        let listener = Listener { link: Arc::downgrade(link), steps, number, version };
        (Self(tokio::spawn(listener.go_on(sender)).abort_handle()), first)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The version of a server whose notifications do not arrive.
pub(super) fn unheard(version: &str, why: &str) -> String {
    format!("{version}, waiters look again and again: {why}")
}

impl Listener {
    async fn go_on(self, first: oneshot::Sender<Option<String>>) {
        let mut first = Some(first);
        loop {
            let polling = Polling::start(self.link.clone());
            let mut pause = PAUSES.0;
            let heard_by = loop {
                let Some(link) = self.link.upgrade() else { return };
                let why = match self.listen(&link).await {
                    Ok(heard_by) => break heard_by,
                    Err(why) => why,
                };
                link.describe(self.number, unheard(&self.version, &why));
                drop(link);
                if let Some(first) = first.take() {
                    // The connection of the steps may not wait for it any more.
                    let _ = first.send(Some(why));
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            };
            drop(polling);
            {
                let Some(link) = self.link.upgrade() else { return };
                link.describe(self.number, self.version.clone());
                // Who was called before that has not heard of it.
                link.wake(&Wake::Any);
            }
            if let Some(first) = first.take() {
                let _ = first.send(None);
            }
            self.watch(&heard_by).await;
        }
    }

    /// Listens at the first of the places where notifications arrive.
    async fn listen(&self, link: &Arc<Link<PostgresServer>>) -> Result<Session, String> {
        let HintsBy::Apart(places) = &link.target.hints else { return Err(String::new()) };
        let mut failures = Vec::new();
        for place in places {
            let within = link.target.reach * 2;
            let why = match tokio::time::timeout(within, self.listen_at(link, place)).await {
                Ok(Ok(heard_by)) => return Ok(heard_by),
                Ok(Err(why)) => why,
                Err(_) => "it does not answer an attempt to connect".to_owned(),
            };
            failures.push(format!("`?listen={}`: {why}", place.name));
        }
        Err(failures.join("; "))
    }

    async fn listen_at(
        &self,
        link: &Arc<Link<PostgresServer>>,
        place: &ListenTarget,
    ) -> Result<Session, String> {
        let server = &link.target;
        let fault = |error| {
            let fault = server.fault_at(&place.config, &link.name, &error, During::Connecting);
            let error = fault.error;
            error.message().map_or_else(|| error.to_string(), str::to_owned)
        };
        let open = Session::open(&place.config, server.tls.as_ref(), link, None);
        let session = open.await.map_err(fault)?;
        let channel = server.channel(link);
        session.client.batch_execute(&format!("LISTEN {channel}")).await.map_err(fault)?;
        let heard = session.hears(&self.steps.client, &channel, server.reach / 2).await;
        if !heard.map_err(fault)? {
            // A pooler's session goes on without us.
            let _ = session.client.batch_execute(&format!("UNLISTEN {channel}")).await;
            return Err(
                "notifications do not arrive there: is it the server, past the pooler, and \
                        the one that is primary?"
                    .to_owned(),
            );
        }
        // Not before it is known to be nobody else's, as a pooler's is.
        session.client.batch_execute(&set(server.durability)).await.map_err(fault)?;
        Ok(session)
    }

    /// Returns when nothing arrives by this session any more.
    async fn watch(&self, heard_by: &Session) {
        let Some(channel) = self.link.upgrade().map(|link| link.target.channel(&link)) else {
            return;
        };
        while tokio::time::timeout(PROBE, heard_by.ended.notified()).await.is_err() {
            let heard = heard_by.hears(&self.steps.client, &channel, PROBE / 2).await;
            if !matches!(heard, Ok(true)) {
                return;
            }
        }
    }
}

/// Has waiters look again and again, for as long as it is there.
struct Polling(AbortHandle);

impl Polling {
    fn start(link: Weak<Link<PostgresServer>>) -> Self {
        let polling = tokio::spawn(async move {
            loop {
                tokio::time::sleep(POLL).await;
                let Some(link) = link.upgrade() else { return };
                link.wake(&Wake::Waiters);
            }
        });
        Self(polling.abort_handle())
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.0.abort();
    }
}
