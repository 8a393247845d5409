//! What is told to `tracing` and `metrics`, where their features are on; nothing otherwise.
//!
//! | event | level | metric |
//! |---|---|---|
//! | acquired | trace | `locks_acquired_total`, `locks_wait_seconds` |
//! | refused: contended, timeout | debug | `locks_contended_total` |
//! | refused: anything else | warn | `locks_failed_total` |
//! | released | trace | `locks_hold_seconds` |
//! | not released as it should be | warn | `locks_release_failed_total` |
//! | lost: with the holder, the cause and, where it is known, the thief; of no span | warn | `locks_lost_total` and, by another's `steal_after`, `locks_stolen_total` |
//! | taken over, by this process from another | warn | |

use crate::{Hold, HolderInfo, LockError, LostCause, Op, Token};

#[cfg(any(feature = "tracing", feature = "metrics"))]
pub(crate) use on::Since;

/// Nobody asks how long it took.
#[cfg(not(any(feature = "tracing", feature = "metrics")))]
#[derive(Clone, Copy)]
pub(crate) struct Since;

#[cfg(not(any(feature = "tracing", feature = "metrics")))]
impl Since {
    #[inline]
    pub(crate) fn now() -> Self {
        Self
    }
}

#[cfg(any(feature = "tracing", feature = "metrics"))]
mod on {
    use std::time::{Duration, Instant};

    /// When something began.
    #[derive(Clone, Copy)]
    pub(crate) struct Since(Instant);

    impl Since {
        pub(crate) fn now() -> Self {
            Self(Instant::now())
        }

        pub(super) fn elapsed(self) -> Duration {
            self.0.elapsed()
        }
    }
}

/// Calls subscribers and recorders, which are anybody's code. A panic of theirs goes on, unless one is
/// under way: then it would end the program.
#[cfg(any(feature = "tracing", feature = "metrics"))]
fn tell(tell: impl FnOnce()) {
    if std::thread::panicking() { tell_aside(tell) } else { tell() }
}

/// As [`tell`], of somebody else's affairs: no panic goes on in the code that has brought them about.
#[cfg(any(feature = "tracing", feature = "metrics"))]
fn tell_aside(tell: impl FnOnce()) {
    // The hook has told of it.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(tell));
}

/// A request was granted, after waiting since then. The hold has a guard by now.
#[inline]
pub(crate) fn acquired(hold: &Hold, asked: Since) {
    let _ = (hold, asked);
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    tell(|| {
        #[cfg(feature = "tracing")]
        tracing::trace!(
            target: "locks",
            keys = %keys(hold),
            token = hold.token().get(),
            waited = ?asked.elapsed(),
            "acquired"
        );
        #[cfg(feature = "metrics")]
        {
            metrics::counter!("locks_acquired_total").increment(1);
            metrics::histogram!("locks_wait_seconds").record(asked.elapsed().as_secs_f64());
        }
    });
}

/// A request was turned down.
#[inline]
pub(crate) fn refused(error: &LockError, asked: Since) {
    let _ = (error, asked);
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    tell(|| {
        #[cfg(feature = "tracing")]
        if error.is_contended() {
            tracing::debug!(target: "locks", key = error.key(), waited = ?asked.elapsed(), "{error}");
        } else {
            tracing::warn!(target: "locks", key = error.key(), waited = ?asked.elapsed(), "{error}");
        }
        #[cfg(feature = "metrics")]
        if error.is_contended() {
            metrics::counter!("locks_contended_total").increment(1);
        } else {
            metrics::counter!("locks_failed_total").increment(1);
        }
    });
}

/// What is to be told of a hold once it has been given back: the keys are its holder's to read only until
/// then.
pub(crate) struct Ending {
    #[cfg(feature = "tracing")]
    keys: Option<(String, Token)>,
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    granted: Since,
}

impl Ending {
    #[inline]
    pub(crate) fn of(hold: &Hold, granted: Since) -> Self {
        let _ = (hold, granted);
        Self {
            // Nobody is asked yet: the level is a number that subscribers have left.
            #[cfg(feature = "tracing")]
            keys: (tracing::level_filters::LevelFilter::current() >= tracing::Level::TRACE)
                .then(|| (keys(hold), hold.token())),
            #[cfg(any(feature = "tracing", feature = "metrics"))]
            granted,
        }
    }

    /// The guard gave its hold back.
    #[inline]
    pub(crate) fn released(self) {
        #[cfg(any(feature = "tracing", feature = "metrics"))]
        tell(|| {
            #[cfg(feature = "tracing")]
            if let Some((keys, token)) = self.keys {
                tracing::trace!(
                    target: "locks",
                    keys = %keys,
                    token = token.get(),
                    held = ?self.granted.elapsed(),
                    "released"
                );
            }
            #[cfg(feature = "metrics")]
            metrics::histogram!("locks_hold_seconds").record(self.granted.elapsed().as_secs_f64());
        });
    }
}

/// A release whose outcome nobody waits for: what is known of it by now is told.
#[inline]
pub(crate) fn unheard(release: Op<'static, ()>) {
    if let Op::Now(Err(error)) = &release {
        report_release(error);
    }
}

/// A release failed: the code under the lock has run and its value stands, so there is nobody to
/// return the error to. That it had been lost was told when it was.
#[doc(hidden)]
#[cold]
pub fn report_release(error: &LockError) {
    if !error.is_lost() {
        #[cfg(any(feature = "tracing", feature = "metrics"))]
        tell(|| {
            #[cfg(feature = "tracing")]
            tracing::warn!(
                target: "locks",
                key = error.key(),
                "not released as it should be: {error}"
            );
            #[cfg(feature = "metrics")]
            metrics::counter!("locks_release_failed_total").increment(1);
        });
    }
}

/// Reports that a hold was ended from outside, by `thief` if that is known. The event belongs to no span: whoever
/// brings it about is about something else.
#[doc(hidden)]
pub fn lost(
    key: &str,
    token: Token,
    cause: LostCause,
    holder: Option<&HolderInfo>,
    thief: Option<&HolderInfo>,
) {
    let _ = (key, token, cause, holder, thief);
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    tell_aside(|| {
        #[cfg(feature = "tracing")]
        tracing::warn!(
            target: "locks",
            parent: None,
            key,
            token = token.get(),
            holder = holder.map(tracing::field::display),
            thief = thief.map(tracing::field::display),
            thief_token = thief.and_then(|thief| thief.token).map(Token::get),
            "the lock was lost: {cause}"
        );
        #[cfg(feature = "metrics")]
        {
            metrics::counter!("locks_lost_total").increment(1);
            if cause == LostCause::Stolen {
                metrics::counter!("locks_stolen_total").increment(1);
            }
        }
    });
}

/// Reports that a hold was taken from a holder of another process, who may not be there to tell.
#[doc(hidden)]
pub fn stolen(key: &str, holder: &HolderInfo, thief: &HolderInfo) {
    let _ = (key, holder, thief);
    #[cfg(feature = "tracing")]
    tell_aside(|| {
        tracing::warn!(
            target: "locks",
            key,
            token = holder.token.map(Token::get),
            holder = %holder,
            thief = %thief,
            thief_token = thief.token.map(Token::get),
            "the lock was taken over"
        );
    });
}

#[cfg(feature = "tracing")]
fn keys(hold: &Hold) -> String {
    hold.keys().collect::<Vec<_>>().join(", ")
}
