//! Connections on which nothing is answered any more.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use locks_core::{LeaseRenewal, LockError};

use super::{Link, Target};

/// How long a step may go unanswered before its connection is given up, which may be one that is
/// forgotten on the way, of which nothing else tells.
pub(crate) const SILENCE: Duration = Duration::from_secs(5);

/// The same of a renewal: the adapter takes it to have failed by then, and there is time left in
/// which the next one gets through on another connection.
pub(crate) fn renewal_silence(renewals: &[LeaseRenewal]) -> Duration {
    let shortest = renewals.iter().map(|renewal| renewal.lease).min();
    shortest.map_or(SILENCE, |lease| (lease / 4).min(SILENCE))
}

impl<T: Target> Link<T> {
    /// Gives the connection of that number up because a step on it is not answered; to the error.
    fn silent(&self, number: u64, step: &str) -> LockError {
        let why = format!("no answer to {step}");
        self.lost(number, &why);
        self.fell_silent.notify_waiters();
        LockError::unavailable(&self.name, why)
    }

    /// Waits for an answer on the connection of that number, for so long at most, and until it
    /// [falls silent](Self::silent).
    ///
    /// # Errors
    /// There is none.
    pub(crate) async fn answer<R>(
        &self,
        number: u64,
        silence: Duration,
        step: &str,
        asked: impl Future<Output = R>,
    ) -> Result<R, LockError> {
        let mut asked = pin!(tokio::time::timeout(silence, asked));
        let mut fell_silent = pin!(self.fell_silent.notified());
        fell_silent.as_mut().enable();
        poll_fn(|cx| {
            if let Poll::Ready(answered) = asked.as_mut().poll(cx) {
                return Poll::Ready(answered.map_err(|_| self.silent(number, step)));
            }
            while fell_silent.as_mut().poll(cx).is_ready() {
                fell_silent.set(self.fell_silent.notified());
                if self.now().lost >= number {
                    let why = "no answer to what was asked before";
                    return Poll::Ready(Err(LockError::unavailable(&self.name, why)));
                }
            }
            Poll::Pending
        })
        .await
    }
}
