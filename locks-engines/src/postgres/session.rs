//! One connection to a server, and the task that reads it.

use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::time::Duration;

use locks_core::Wake;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::target::PostgresServer;
use crate::link::Link;

/// How many answers a notification may take.
const ANSWERS: u32 = 10;

/// A connection that ends with its value.
pub(super) struct Session {
    pub(super) client: Client,
    /// Told when a notification without a payload has come: of our own, to see that any come.
    pub(super) probed: Arc<Notify>,
    /// Told when the connection has ended.
    pub(super) ended: Arc<Notify>,
    reader: AbortHandle,
}

impl Session {
    /// Connects. What it hears is passed on to `link`, and so is its loss, if it is that of
    /// connection `number`.
    pub(super) async fn open(
        config: &Config,
        tls: Option<&MakeRustlsConnect>,
        link: &Arc<Link<PostgresServer>>,
        number: Option<u64>,
    ) -> Result<Self, Error> {
        let (probed, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let reader = Reader {
            link: Arc::downgrade(link),
            number,
            probed: probed.clone(),
            ended: ended.clone(),
        };
        let is_encrypted = config.get_ssl_mode() != SslMode::Disable;
        let (client, reader) = match tls.filter(|_| is_encrypted) {
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                (client, tokio::spawn(reader.read(connection)))
            }
            Some(tls) => {
                let (client, connection) = config.connect(tls.clone()).await?;
                (client, tokio::spawn(reader.read(connection)))
            }
        };
        Ok(Self { client, probed, ended, reader: reader.abort_handle() })
    }

    /// Returns whether a notification that `by` sends to `channel` arrives here within this time,
    /// or for as long as a number of answers takes: a server that is slow to notify is slow to
    /// answer as well.
    pub(super) async fn hears(
        &self,
        by: &Client,
        channel: &str,
        within: Duration,
    ) -> Result<bool, Error> {
        let notify = format!("SELECT pg_catalog.pg_notify('{channel}', '')");
        by.batch_execute(&format!("SET LOCAL statement_timeout = 5000; {notify}")).await?;
        for _ in 0..ANSWERS {
            if tokio::time::timeout(within / ANSWERS, self.probed.notified()).await.is_ok() {
                return Ok(true);
            }
            by.batch_execute("").await?;
        }
        Ok(false)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

struct Reader {
    link: Weak<Link<PostgresServer>>,
    number: Option<u64>,
    probed: Arc<Notify>,
    ended: Arc<Notify>,
}

impl Reader {
    async fn read<S, T>(self, mut connection: Connection<S, T>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let why = loop {
            match poll_fn(|cx| connection.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notification(heard))) if heard.payload().is_empty() => {
                    self.probed.notify_one();
                }
                Some(Ok(AsyncMessage::Notification(heard))) => {
                    let Some(link) = self.link.upgrade() else { return };
                    link.wake(&Wake::Key(heard.payload().to_owned()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => break error.to_string(),
                None => break "the connection was closed".to_owned(),
            }
        };
        self.ended.notify_one();
        if let (Some(link), Some(number)) = (self.link.upgrade(), self.number) {
            link.lost(number, &why);
        }
    }
}
