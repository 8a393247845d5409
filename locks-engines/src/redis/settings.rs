//! What matters of a server's settings.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use super::info::Info;

/// For how long a server that is cut off goes on to take writes; zero where it does so for ever.
#[derive(Clone, Copy)]
pub(super) struct Lag {
    pub(super) time: Duration,
    is_assumed: bool,
}

impl Lag {
    /// What `min-replicas-max-lag` is unless somebody has set it otherwise.
    const REPLICAS: Duration = Duration::from_secs(10);
    /// The same of `cluster-node-timeout`.
    const CLUSTER: Duration = Duration::from_secs(15);

    /// The one that the server's settings say, if it has told them, and that its users say.
    pub(super) fn of(known: Option<Duration>, said: Option<Duration>, info: &Info<'_>) -> Self {
        let is_assumed = known.is_none() && said.is_none();
        let usual = match info.mode {
            "cluster" => Self::CLUSTER,
            _ if info.wants_replicas => Self::REPLICAS,
            _ => Duration::ZERO,
        };
        Self { time: known.max(said).unwrap_or(usual), is_assumed }
    }
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { time: Duration::ZERO, .. } => Ok(()),
            Self { time, is_assumed: false } => write!(f, ", max-lag {time:?}"),
            Self { time, .. } => write!(f, ", max-lag {time:?} unless `?max_lag=` says otherwise"),
        }
    }
}

/// What it says of them.
pub(super) struct Settings {
    /// See [`Lag`]; `None`: it does not say.
    pub(super) lag: Option<Duration>,
    /// For how long it has a second replication id after it was promoted.
    pub(super) memory: Duration,
}

impl Settings {
    /// Asks for them. Many users may not, and many servers that others run do not say: their
    /// settings have passwords among them.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) async fn of(connection: &mut MultiplexedConnection) -> RedisResult<Self> {
        let mut ask = redis::cmd("CONFIG");
        ask.arg("GET").arg("min-replicas-*").arg("cluster-node-timeout").arg("cluster-enabled");
        ask.arg("repl-backlog-ttl");
        match ask.query_async(connection).await {
            Ok(settings) => Ok(Self::parse(&settings)),
            Err(error) if error.is_io_error() || error.is_unrecoverable_error() => Err(error),
            Err(_) => Ok(Self::parse(&HashMap::new())),
        }
    }

    fn parse(settings: &HashMap<String, String>) -> Self {
        let of = |name| settings.get(name).and_then(|value| value.parse::<u64>().ok());
        let replicas = match of("min-replicas-to-write") {
            Some(0) => Some(Duration::ZERO),
            Some(_) => of("min-replicas-max-lag").map(Duration::from_secs),
            None => None,
        };
        // In a cluster it is what a node without the others goes by.
        let lag = match settings.get("cluster-enabled").map(String::as_str) {
            Some("yes") => {
                let node = of("cluster-node-timeout").map(Duration::from_millis);
                replicas.zip(node).map(|(replicas, node)| replicas.max(node))
            }
            _ => replicas,
        };
        let memory = match of("repl-backlog-ttl") {
            // For ever.
            Some(0) => Duration::MAX,
            // An hour, unless somebody has set it otherwise.
            seconds => Duration::from_secs(seconds.unwrap_or(3600)),
        };
        Self { lag, memory }
    }
}
