mod kind;
mod text;

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::time::Duration;

pub use self::kind::{ErrorKind, LostCause};
use crate::{CallSite, HolderInfo, Mode, Token, WaiterInfo};

/// Why a lock was not acquired, not kept or not confirmed as released.
///
/// One word wide. Sort by [`kind`](Self::kind), which follows what a caller does next;
/// `Display` is one sentence for a person, `Debug` tells everything.
///
/// ```
/// use locks_core::{ErrorKind, LockError};
/// let error = LockError::new(ErrorKind::Contended, "invoice:42");
/// assert!(error.is_contended());
/// assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::WouldBlock);
/// ```
pub struct LockError(Box<Failure>);

/// One step of a deadlock: somebody who holds one key and wants the next (C10).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadlockStep {
    /// The key it waits for.
    pub wants: String,
    /// How, where and for how long it waits.
    pub waiter: WaiterInfo,
    /// Who holds that key; this holder is the waiter of the next step.
    pub holder: HolderInfo,
}

#[derive(Debug)]
struct Failure {
    kind: ErrorKind,
    key: String,
    holders: Vec<HolderInfo>,
    waiters: Vec<WaiterInfo>,
    cycle: Vec<DeadlockStep>,
    /// How many wait, of whom `waiters` may be only the first.
    waiting: usize,
    reserved_for: Option<Duration>,
    waited: Option<Duration>,
    until: Option<Duration>,
    token: Option<Token>,
    site: Option<CallSite>,
    backend: Option<String>,
    message: Option<Cow<'static, str>>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl LockError {
    /// An error about `key`; for those about no key in particular, an empty one.
    #[cold]
    pub fn new(kind: ErrorKind, key: impl Into<String>) -> Self {
        Self(Box::new(Failure {
            kind,
            key: key.into(),
            holders: Vec::new(),
            waiters: Vec::new(),
            cycle: Vec::new(),
            waiting: 0,
            reserved_for: None,
            waited: None,
            until: None,
            token: None,
            site: None,
            backend: None,
            message: None,
            source: None,
        }))
    }

    /// `backend` cannot do `option`, and why or what to do instead.
    #[cold]
    pub fn unsupported(backend: &str, option: &str, why: &str) -> Self {
        let mut text = format!("`{backend}` cannot do `{option}`");
        if !why.is_empty() {
            text.push_str(": ");
            text.push_str(why);
        }
        Self::new(ErrorKind::Unsupported, "").with_backend(backend).with_message(text)
    }

    /// The arbiter behind `backend` cannot be reached.
    #[cold]
    pub fn unavailable(backend: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Unavailable, "").with_backend(backend).with_source(source)
    }

    /// With those who hold the key.
    #[must_use]
    pub fn with_holders(mut self, holders: Vec<HolderInfo>) -> Self {
        self.0.holders = holders;
        self
    }

    /// With those who wait for the key, first come first.
    #[must_use]
    pub fn with_waiters(mut self, waiters: Vec<WaiterInfo>) -> Self {
        self.0.waiting = waiters.len();
        self.0.waiters = waiters;
        self
    }

    /// With how many wait for the key, if [`with_waiters`](Self::with_waiters) names only the first.
    #[must_use]
    pub fn with_waiting(mut self, waiting: usize) -> Self {
        self.0.waiting = waiting;
        self
    }

    /// With the steps of a deadlock, the refused wait first.
    #[must_use]
    pub fn with_cycle(mut self, cycle: Vec<DeadlockStep>) -> Self {
        self.0.cycle = cycle;
        self
    }

    /// With how long the key stays reserved (C14).
    #[must_use]
    pub fn with_reserved_for(mut self, left: Option<Duration>) -> Self {
        self.0.reserved_for = left;
        self
    }

    /// With how long the request waited.
    #[must_use]
    pub fn with_waited(mut self, waited: Duration) -> Self {
        self.0.waited = Some(waited);
        self
    }

    /// With how long the arbiter goes on granting nothing to anybody.
    #[must_use]
    pub fn with_until(mut self, left: Duration) -> Self {
        self.0.until = Some(left);
        self
    }

    /// With the token of the hold in question.
    #[must_use]
    pub fn with_token(mut self, token: Token) -> Self {
        self.0.token = Some(token);
        self
    }

    /// With the call site of the request.
    #[must_use]
    pub fn with_site(mut self, site: CallSite) -> Self {
        self.0.site = Some(site);
        self
    }

    /// With the name of the backend.
    #[must_use]
    pub fn with_backend(mut self, backend: impl Into<String>) -> Self {
        self.0.backend = Some(backend.into());
        self
    }

    /// With a sentence in place of the usual one.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.0.message = Some(message.into());
        self
    }

    /// With the error that lies behind it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// About this key instead.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.0.key = key.into();
        self
    }

    /// What happened, sorted by what a caller does next.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether somebody else had the lock: `Contended` or `Timeout`.
    pub fn is_contended(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Contended | ErrorKind::Timeout)
    }

    /// Whether a lock that had been held is lost.
    pub fn is_lost(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Lost { .. })
    }

    /// The key; empty where the error is about none in particular.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// Who held the key at that moment (C12).
    pub fn holders(&self) -> &[HolderInfo] {
        &self.0.holders
    }

    /// Who waited for the key at that moment, or the first of them (C12).
    pub fn waiters(&self) -> &[WaiterInfo] {
        &self.0.waiters
    }

    /// The cycle of a [`Deadlock`](ErrorKind::Deadlock), beginning with the refused wait (C10).
    pub fn cycle(&self) -> &[DeadlockStep] {
        &self.0.cycle
    }

    /// The token of the hold in question.
    pub fn token(&self) -> Option<Token> {
        self.0.token
    }

    /// How many waited for the key at that moment, of whom [`waiters`](Self::waiters) may be only the
    /// first.
    pub fn waiting(&self) -> usize {
        self.0.waiting
    }

    /// How long the key stays reserved although nobody holds it (C14).
    pub fn reserved_for(&self) -> Option<Duration> {
        self.0.reserved_for
    }

    /// How long the request waited.
    pub fn waited(&self) -> Option<Duration> {
        self.0.waited
    }

    /// Returns for how long from the error on the arbiter grants nothing to anybody, where an
    /// [`Unavailable`](ErrorKind::Unavailable) one has said so: it may have lost what it had promised, and
    /// waits until that would be over.
    pub fn until(&self) -> Option<Duration> {
        self.0.until
    }

    /// Returns the error that this one was made of, to be looked at by its type. `Display` may tell of it
    /// already; unlike [`source`](std::error::Error::source), this returns it all the same.
    ///
    /// ```
    /// use locks_core::LockError;
    /// let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    /// let error = LockError::unavailable("locks://vault", refused);
    /// assert!(error.inner().is_some_and(|inner| inner.is::<std::io::Error>()));
    /// assert_eq!(error.to_string(), "`locks://vault` cannot be reached: connection refused");
    /// ```
    pub fn inner(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }

    /// The sentence in place of the usual one, if it was given one.
    pub fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// Returns a sentence for strangers, such as the clients of a service: it names no key, path,
    /// function, process or host, as `Display` does.
    ///
    /// It says whether trying again makes sense; the status to answer with follows from
    /// [`kind`](Self::kind).
    ///
    /// ```
    /// use locks_core::{ErrorKind, LockError};
    /// let error = LockError::new(ErrorKind::Timeout, "refresh_7");
    /// assert_eq!(
    ///     error.public_message(),
    ///     "busy: another request held the lock for too long; try again later",
    /// );
    /// ```
    pub fn public_message(&self) -> &'static str {
        self.0.kind.public_message()
    }

    /// The backend it came from, where it says.
    pub fn backend(&self) -> Option<&str> {
        self.0.backend.as_deref()
    }
}

impl DeadlockStep {
    /// A step: `waiter` wants `wants`, which `holder` holds.
    pub fn new(wants: impl Into<String>, waiter: WaiterInfo, holder: HolderInfo) -> Self {
        Self { wants: wants.into(), waiter, holder }
    }
}

/// [`source`](Error::source) is the first error behind this one that `Display` does not tell of already: who
/// prints an error with all its sources prints each once.
impl Error for LockError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let mut behind = Some(self.0.source.as_deref()? as &(dyn Error + 'static));
        let told = self.to_string();
        while let Some(source) = behind
            && told.contains(&source.to_string())
        {
            behind = source.source();
        }
        behind
    }
}

impl From<LockError> for io::Error {
    fn from(error: LockError) -> Self {
        let kind = match error.kind() {
            ErrorKind::Contended => io::ErrorKind::WouldBlock,
            ErrorKind::Timeout => io::ErrorKind::TimedOut,
            ErrorKind::Deadlock => io::ErrorKind::Deadlock,
            ErrorKind::InvalidKey | ErrorKind::PermitsMismatch => io::ErrorKind::InvalidInput,
            ErrorKind::Unsupported => io::ErrorKind::Unsupported,
            ErrorKind::Unavailable => io::ErrorKind::NotConnected,
            ErrorKind::Unauthorized => io::ErrorKind::PermissionDenied,
            ErrorKind::LimitExceeded => io::ErrorKind::QuotaExceeded,
            ErrorKind::Protocol => io::ErrorKind::InvalidData,
            ErrorKind::Lost { .. } | ErrorKind::NotConfigured | ErrorKind::Io => {
                io::ErrorKind::Other
            }
        };
        io::Error::new(kind, error)
    }
}

/// What a request for a permit finds on a key that is used as a lock, or the reverse (C16).
#[cold]
pub(crate) fn permits_mismatch(key: &str, asked: Mode) -> LockError {
    let (used, asked) = match asked {
        Mode::Permit { .. } => ("a lock, without `permits`", "with"),
        Mode::Shared | Mode::Exclusive => ("a set of permits", "without"),
    };
    LockError::new(ErrorKind::PermitsMismatch, key).with_message(format!(
        "`{key}` is in use as {used}, and was asked for {asked} `permits`: everybody who uses a key \
         at a time has to agree on that"
    ))
}
