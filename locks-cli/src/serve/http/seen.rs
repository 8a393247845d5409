//! What was seen of the server last. It is asked once a second at most, and so that it spends no
//! more than a tenth of its time on answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use locks::net::{Observation, ServerObserver};
use locks::{LockError, Token};
use tokio::sync::Mutex;

/// How old an answer may be at least.
const FRESH: Duration = Duration::from_secs(1);

/// For so many times as long as the server's thread took for an answer nothing more is asked of it.
const SHARE: u32 = 10;

/// The time for which an answer is kept without a reader.
pub(super) const KEPT: Duration = Duration::from_secs(10);

/// How long the server's thread may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Seen {
    observer: ServerObserver,
    all: Mutex<Option<Snapshot>>,
    figures: Mutex<Option<Snapshot>>,
}

/// What was seen, and when.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) observation: Arc<Observation>,
    pub(super) at: Instant,
}

impl Snapshot {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < FRESH.max(self.observation.took * SHARE)
    }
}

impl Seen {
    pub(super) fn new(observer: ServerObserver) -> Self {
        Self { observer, all: Mutex::default(), figures: Mutex::default() }
    }

    /// Everything.
    pub(super) async fn all(&self) -> Result<Snapshot, String> {
        look(&self.all, || self.observer.observe()).await
    }

    /// Figures alone.
    pub(super) async fn figures(&self) -> Result<Snapshot, String> {
        look(&self.figures, || self.observer.figures()).await
    }

    /// Gives back what nobody has looked at for a while.
    pub(super) fn forget_old(&self) {
        for last in [&self.all, &self.figures] {
            let Ok(mut last) = last.try_lock() else { continue };
            last.take_if(|snapshot| snapshot.at.elapsed() > KEPT && !snapshot.is_fresh());
        }
    }

    /// Releases a hold, and has everything looked up anew.
    pub(super) async fn release(&self, key: &str, token: Token) -> Result<bool, String> {
        let released = tokio::time::timeout(PATIENCE, self.observer.release(key, token)).await;
        let released = released.map_err(|_| SILENT.to_owned())?.map_err(|error| error.to_string());
        *self.all.lock().await = None;
        released
    }
}

const SILENT: &str =
    "the lock server does not answer: it has been at work for five seconds, or is stopped";

/// Those who ask at a time wait for one answer.
async fn look<F>(
    last: &Mutex<Option<Snapshot>>,
    ask: impl FnOnce() -> F,
) -> Result<Snapshot, String>
where
    F: Future<Output = Result<Observation, LockError>>,
{
    let mut last = last.lock().await;
    if let Some(snapshot) = last.as_ref().filter(|snapshot| snapshot.is_fresh()) {
        return Ok(snapshot.clone());
    }
    // Two of them at a time would be twice the memory.
    *last = None;
    let answer = tokio::time::timeout(PATIENCE, ask()).await;
    let observation = answer.map_err(|_| SILENT.to_owned())?.map_err(|error| error.to_string())?;
    let snapshot = Snapshot { observation: Arc::new(observation), at: Instant::now() };
    *last = Some(snapshot.clone());
    Ok(snapshot)
}
