//! What is told to `tracing` and `metrics`, where their features are on; nothing otherwise. The
//! manual's page *observability* has all of it in tables; a test holds them against [`METRICS`] and
//! [`EVENTS`], and those against what is told.

#[cfg(feature = "metrics")]
mod metered;

#[cfg(not(any(feature = "tracing", feature = "metrics")))]
use std::sync::Arc;

#[cfg(not(any(feature = "tracing", feature = "metrics")))]
use crate::CallSite;
#[cfg(any(feature = "tracing", feature = "metrics"))]
use crate::ErrorKind;
use crate::{Hold, HolderInfo, LockError, LostCause, Op, Token};

#[cfg(any(feature = "tracing", feature = "metrics"))]
pub(crate) use on::Since;

/// Nobody asks how long it took.
#[cfg(not(any(feature = "tracing", feature = "metrics")))]
#[derive(Clone)]
pub(crate) struct Since;

/// A metric: its name, its type, its labels, and what it counts.
#[doc(hidden)]
#[cfg(feature = "metrics")]
pub type Metric = (&'static str, &'static str, &'static [&'static str], &'static str);

/// All metrics there are.
#[doc(hidden)]
#[cfg(feature = "metrics")]
pub const METRICS: [Metric; 10] = [
    ("locks_acquired_total", "counter", &["site"], "Locks that were acquired."),
    ("locks_wait_seconds", "histogram", &["site"], "How long acquired locks were waited for."),
    (
        "locks_contended_total",
        "counter",
        &["site", "cause"],
        "Requests refused because another holds the lock.",
    ),
    (
        "locks_failed_total",
        "counter",
        &["site", "cause"],
        "Requests that failed for another reason.",
    ),
    ("locks_waiting", "gauge", &["site"], "Requests that are waiting now."),
    ("locks_held", "gauge", &["site"], "Guards that are held now."),
    ("locks_hold_seconds", "histogram", &["site"], "How long guards were held."),
    ("locks_lost_total", "counter", &["cause"], "Holds that were lost."),
    ("locks_stolen_total", "counter", &[], "Holds that were lost to another's `steal_after`."),
    (
        "locks_release_failed_total",
        "counter",
        &["cause"],
        "Releases that the backend did not confirm.",
    ),
];

/// Describes each metric to the installed recorder: its unit, and the text that an exporter shows
/// as `HELP`. Call it once, after installing the recorder.
#[cfg(feature = "metrics")]
pub fn describe_metrics() {
    for (name, kind, _, help) in METRICS {
        let unit =
            if name.ends_with("_seconds") { metrics::Unit::Seconds } else { metrics::Unit::Count };
        match kind {
            "counter" => metrics::describe_counter!(name, unit, help),
            "gauge" => metrics::describe_gauge!(name, unit, help),
            _ => metrics::describe_histogram!(name, unit, help),
        }
    }
}

/// All events there are: the message, or what it begins with, the level, and the fields beside it.
#[doc(hidden)]
#[cfg(feature = "tracing")]
pub const EVENTS: [(&str, &str, &[&str]); 6] = [
    ("acquired", "trace", &["key", "token", "site", "label", "waited"]),
    ("not acquired", "debug, warn", &["key", "cause", "site", "label", "waited"]),
    ("released", "trace", &["key", "token", "site", "label", "held"]),
    ("not released as it should be", "warn", &["key", "cause"]),
    ("the lock was lost", "warn", &["key", "token", "cause", "holder", "thief", "thief_token"]),
    ("the lock was taken over", "warn", &["key", "token", "holder", "thief", "thief_token"]),
];

#[cfg(not(any(feature = "tracing", feature = "metrics")))]
impl Since {
    #[inline]
    pub(crate) fn now() -> Self {
        Self
    }

    #[inline]
    pub(crate) fn at(_: CallSite) -> Self {
        Self
    }

    #[inline]
    pub(crate) fn labelled(self, _: impl FnOnce() -> Option<Arc<str>>) -> Self {
        Self
    }

    #[inline]
    pub(crate) fn again(&self) -> Self {
        Self
    }
}

#[cfg(any(feature = "tracing", feature = "metrics"))]
mod on {
    use std::sync::Arc;
    use std::time::Duration;

    use crate::{CallSite, Moment, SystemClock};

    /// When something began, where in the program, and by which label.
    #[derive(Clone)]
    pub(crate) struct Since {
        moment: Moment,
        site: Option<CallSite>,
        #[cfg(feature = "tracing")]
        label: Option<Arc<str>>,
    }

    impl Since {
        pub(crate) fn now() -> Self {
            Self {
                moment: SystemClock::precise_now(),
                site: None,
                #[cfg(feature = "tracing")]
                label: None,
            }
        }

        pub(crate) fn at(site: CallSite) -> Self {
            Self { site: Some(site), ..Self::now() }
        }

        pub(crate) fn labelled(self, label: impl FnOnce() -> Option<Arc<str>>) -> Self {
            let _ = &label;
            Self {
                #[cfg(feature = "tracing")]
                label: label(),
                ..self
            }
        }

        /// From now on, at the same place, by the same label.
        pub(crate) fn again(&self) -> Self {
            Self { moment: SystemClock::precise_now(), ..self.clone() }
        }

        #[cfg(feature = "tracing")]
        pub(super) fn site(&self) -> Option<CallSite> {
            self.site
        }

        #[cfg(feature = "tracing")]
        pub(super) fn label(&self) -> Option<&str> {
            self.label.as_deref()
        }

        #[cfg(feature = "metrics")]
        pub(super) fn metered(&self) -> &'static super::metered::Metered {
            super::metered::Metered::of(self.site)
        }

        pub(super) fn elapsed(&self) -> Duration {
            SystemClock::precise_now().since(self.moment)
        }
    }
}

/// Calls subscribers and recorders, which are anybody's code. A panic of theirs goes on, unless one
/// is under way: then it would end the program.
#[cfg(any(feature = "tracing", feature = "metrics"))]
fn tell(tell: impl FnOnce()) {
    if std::thread::panicking() { tell_aside(tell) } else { tell() }
}

/// As [`tell`], of somebody else's affairs: no panic goes on in the code that has brought them
/// about.
#[cfg(any(feature = "tracing", feature = "metrics"))]
fn tell_aside(tell: impl FnOnce()) {
    // The hook has told of it.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(tell));
}

/// A request was granted, after waiting since then. The hold has a guard by now.
#[inline]
pub(crate) fn acquired(hold: &Hold, asked: &Since) {
    let _ = (hold, asked);
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    tell(|| {
        #[cfg(feature = "metrics")]
        asked.metered().is_held();
        #[cfg(feature = "tracing")]
        tracing::trace!(
            target: "locks",
            key = %keys(hold),
            token = hold.token().get(),
            site = asked.site().map(tracing::field::display),
            label = asked.label(),
            waited = ?asked.elapsed(),
            "acquired"
        );
        #[cfg(feature = "metrics")]
        asked.metered().was_acquired(asked.elapsed().as_secs_f64());
    });
}

/// A request begins to wait, or does so no longer: no panic goes on where a grant may be at hand.
#[inline]
pub(crate) fn waits(asked: &Since, begins: bool) {
    let _ = (asked, begins);
    #[cfg(feature = "metrics")]
    tell_aside(|| {
        let metered = asked.metered();
        if begins { metered.begins_to_wait() } else { metered.waits_no_longer() }
    });
}

/// A request that waits, until this is dropped.
pub(crate) struct WaitGauge(Since);

impl WaitGauge {
    pub(crate) fn begin(asked: &Since) -> Self {
        waits(asked, true);
        Self(asked.clone())
    }
}

impl Drop for WaitGauge {
    fn drop(&mut self) {
        waits(&self.0, false);
    }
}

/// A request was turned down.
#[inline]
pub(crate) fn refused(error: &LockError, asked: &Since) {
    let _ = (error, asked);
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    tell(|| {
        let cause = cause(error.kind());
        #[cfg(feature = "tracing")]
        {
            let site = asked.site().map(tracing::field::display);
            let label = asked.label();
            let waited = tracing::field::debug(asked.elapsed());
            if error.is_contended() {
                tracing::debug!(target: "locks", key = error.key(), cause, site, label, waited, "not acquired: {error}");
            } else {
                tracing::warn!(target: "locks", key = error.key(), cause, site, label, waited, "not acquired: {error}");
            }
        }
        #[cfg(feature = "metrics")]
        if error.is_contended() {
            metrics::counter!("locks_contended_total", "site" => asked.metered().site(), "cause" => cause)
                .increment(1);
        } else {
            metrics::counter!("locks_failed_total", "site" => asked.metered().site(), "cause" => cause)
                .increment(1);
        }
    });
}

/// The kind of an error in a word, as a label.
#[cfg(any(feature = "tracing", feature = "metrics"))]
fn cause(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Contended => "contended",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Deadlock => "deadlock",
        ErrorKind::Cancelled => "cancelled",
        ErrorKind::Lost { cause } => loss(cause),
        ErrorKind::InvalidKey => "invalid_key",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::NotConfigured => "not_configured",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::PermitsMismatch => "permits_mismatch",
        ErrorKind::Unauthorized => "unauthorized",
        ErrorKind::LimitExceeded => "limit_exceeded",
        ErrorKind::Protocol => "protocol",
        ErrorKind::Io => "io",
    }
}

/// The cause of a loss in a word, as a label.
#[cfg(any(feature = "tracing", feature = "metrics"))]
fn loss(cause: LostCause) -> &'static str {
    match cause {
        LostCause::Stolen => "stolen",
        LostCause::HeldTooLong => "held_too_long",
        LostCause::Expired => "expired",
        LostCause::Evicted => "evicted",
        LostCause::SessionEnded => "session_ended",
        LostCause::Replaced => "replaced",
        LostCause::Forgotten => "forgotten",
        LostCause::Forked => "forked",
    }
}

/// What is to be told of a hold once it has been given back: the keys are its holder's to read only
/// until then.
pub(crate) struct Ending {
    #[cfg(feature = "tracing")]
    keys: Option<(String, Token)>,
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    granted: Since,
}

impl Ending {
    #[inline]
    pub(crate) fn of(hold: &Hold, granted: Since) -> Self {
        let _ = (hold, &granted);
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
            #[cfg(feature = "metrics")]
            self.granted.metered().is_held_no_longer();
            #[cfg(feature = "tracing")]
            if let Some((keys, token)) = self.keys {
                tracing::trace!(
                    target: "locks",
                    key = %keys,
                    token = token.get(),
                    site = self.granted.site().map(tracing::field::display),
                    label = self.granted.label(),
                    held = ?self.granted.elapsed(),
                    "released"
                );
            }
            #[cfg(feature = "metrics")]
            self.granted.metered().was_released(self.granted.elapsed().as_secs_f64());
        });
    }
}

/// A release whose outcome nobody waits for: what is known of it by now is told.
#[inline]
pub(crate) fn report_unobserved(release: Op<'static, ()>) {
    if let Op::Now(Err(error)) = &release {
        report_release(error);
    }
}

/// Reports a release that failed: the code under the lock has run and its value stands, so there is
/// nobody to return the error to. That it had been lost was told when it was.
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
                cause = cause(error.kind()),
                "not released as it should be: {error}"
            );
            #[cfg(feature = "metrics")]
            metrics::counter!("locks_release_failed_total", "cause" => cause(error.kind()))
                .increment(1);
        });
    }
}

/// Reports that a hold was ended from outside, by `thief` if that is known. The event belongs to no
/// span: whoever brings it about is about something else.
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
            cause = loss(cause),
            holder = holder.map(tracing::field::display),
            thief = thief.map(tracing::field::display),
            thief_token = thief.and_then(|thief| thief.token).map(Token::get),
            "the lock was lost: {cause}"
        );
        #[cfg(feature = "metrics")]
        {
            metrics::counter!("locks_lost_total", "cause" => loss(cause)).increment(1);
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
