mod kind;
mod options;
mod text;
mod token;

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::time::Duration;

pub use self::kind::{ErrorKind, LostCause};
pub(crate) use self::options::permits_mismatch;
use crate::{CallSite, HolderInfo, Token, WaiterInfo};

/// The error of an acquisition, a check or a release.
///
/// One word wide. [`kind`](Self::kind) sorts by what a caller does next; `Display` is one sentence
/// for a person, which names the key and its holders; `Debug` shows every field.
/// [`public_message`](Self::public_message) is for clients who must not see these.
///
/// # Examples
/// ```
/// use locks::{ErrorKind, LockError};
///
/// let error = LockError::new(ErrorKind::Contended, "invoice:42");
/// assert!(error.is_contended());
/// assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::WouldBlock);
/// ```
pub struct LockError(Box<Failure>);

/// A step of a deadlock: a waiter, the key that it waits for, and the holder of that key
/// ([C10](crate::contract#c10-deadlocks)).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadlockStep {
    /// The key that it waits for.
    pub wants: String,
    /// The waiter.
    pub waiter: WaiterInfo,
    /// The holder of that key, who is the waiter of the next step.
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
    /// Creates an error about `key`, or about no key in particular if it is empty.
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

    /// Creates an [`Unsupported`](ErrorKind::Unsupported) error: `backend` cannot do `option`;
    /// `why` says what to do instead.
    #[cold]
    pub fn unsupported(backend: &str, option: &str, why: &str) -> Self {
        let mut text = format!("`{backend}` cannot do `{option}`");
        if !why.is_empty() {
            text.push_str(": ");
            text.push_str(why);
        }
        Self::new(ErrorKind::Unsupported, "").with_backend(backend).with_message(text)
    }

    /// Creates an [`Unavailable`](ErrorKind::Unavailable) error: `backend` cannot be reached.
    #[cold]
    pub fn unavailable(backend: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Unavailable, "").with_backend(backend).with_source(source)
    }

    /// Sets the holders of the key.
    #[must_use]
    pub fn with_holders(mut self, holders: Vec<HolderInfo>) -> Self {
        self.0.holders = holders;
        self
    }

    /// Sets the waiters for the key, in the order of the queue.
    #[must_use]
    pub fn with_waiters(mut self, waiters: Vec<WaiterInfo>) -> Self {
        self.0.waiting = waiters.len();
        self.0.waiters = waiters;
        self
    }

    /// Sets the number of waiters, if [`with_waiters`](Self::with_waiters) got only the first of
    /// them.
    #[must_use]
    pub fn with_waiting(mut self, waiting: usize) -> Self {
        self.0.waiting = waiting;
        self
    }

    /// Sets the steps of a deadlock, beginning with the refused wait.
    #[must_use]
    pub fn with_cycle(mut self, cycle: Vec<DeadlockStep>) -> Self {
        self.0.cycle = cycle;
        self
    }

    /// Sets the time for which the key stays reserved.
    #[must_use]
    pub fn with_reserved_for(mut self, left: Option<Duration>) -> Self {
        self.0.reserved_for = left;
        self
    }

    /// Sets the time for which the request waited.
    #[must_use]
    pub fn with_waited(mut self, waited: Duration) -> Self {
        self.0.waited = Some(waited);
        self
    }

    /// Sets the time from now for which the backend grants no lock at all.
    #[must_use]
    pub fn with_until(mut self, left: Duration) -> Self {
        self.0.until = Some(left);
        self
    }

    /// Sets the token of the hold in question.
    #[must_use]
    pub fn with_token(mut self, token: Token) -> Self {
        self.0.token = Some(token);
        self
    }

    /// Sets the call site of the request.
    #[must_use]
    pub fn with_site(mut self, site: CallSite) -> Self {
        self.0.site = Some(site);
        self
    }

    /// Sets the name of the backend.
    #[must_use]
    pub fn with_backend(mut self, backend: impl Into<String>) -> Self {
        self.0.backend = Some(backend.into());
        self
    }

    /// Sets the text of `Display` in place of the usual one.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.0.message = Some(message.into());
        self
    }

    /// Sets the underlying error.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Sets the key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.0.key = key.into();
        self
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns `true` if another holder had the lock: [`Contended`](ErrorKind::Contended) or
    /// [`Timeout`](ErrorKind::Timeout).
    ///
    /// # Examples
    /// ```
    /// let guard = locks::named("report").acquire()?;
    /// let error = locks::named("report").wait(false).acquire().unwrap_err();
    /// assert!(error.is_contended());
    /// # drop(guard);
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn is_contended(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Contended | ErrorKind::Timeout)
    }

    /// Returns `true` if a lock that was held has been lost.
    pub fn is_lost(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Lost { .. })
    }

    /// Returns the key; empty where the error is about none in particular.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// Returns the holders of the key at that moment
    /// ([C12](crate::contract#c12-holder-information)).
    pub fn holders(&self) -> &[HolderInfo] {
        &self.0.holders
    }

    /// Returns the waiters for the key at that moment, or the first of them
    /// ([C12](crate::contract#c12-holder-information)).
    pub fn waiters(&self) -> &[WaiterInfo] {
        &self.0.waiters
    }

    /// Returns the cycle of a [`Deadlock`](ErrorKind::Deadlock), beginning with the refused wait
    /// ([C10](crate::contract#c10-deadlocks)).
    pub fn cycle(&self) -> &[DeadlockStep] {
        &self.0.cycle
    }

    /// Returns the token of the hold in question.
    pub fn token(&self) -> Option<Token> {
        self.0.token
    }

    /// Returns the number of waiters at that moment, of whom [`waiters`](Self::waiters) may be only
    /// the first.
    pub fn waiting(&self) -> usize {
        self.0.waiting
    }

    /// Returns the time for which the key stays reserved without a holder, by `hold_at_least`
    /// ([C14](crate::contract#c14-bounds-of-a-hold)).
    pub fn reserved_for(&self) -> Option<Duration> {
        self.0.reserved_for
    }

    /// Returns the time for which the request waited.
    pub fn waited(&self) -> Option<Duration> {
        self.0.waited
    }

    /// Returns the time from now for which the backend grants no lock at all, if an
    /// [`Unavailable`](ErrorKind::Unavailable) error says so: it may have lost holds, and waits
    /// until their leases would have expired.
    pub fn until(&self) -> Option<Duration> {
        self.0.until
    }

    /// Returns the underlying error, for example to downcast it.
    ///
    /// Unlike [`source`](std::error::Error::source), this also returns an error whose text is part
    /// of `Display` already.
    ///
    /// ```
    /// use locks::LockError;
    /// let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    /// let error = LockError::unavailable("locks://vault", refused);
    /// assert!(error.inner().is_some_and(|inner| inner.is::<std::io::Error>()));
    /// assert_eq!(error.to_string(), "`locks://vault` cannot be reached: connection refused");
    /// ```
    pub fn inner(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }

    /// Returns the text that was set in place of the usual one.
    pub fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// Returns a sentence for the clients of a service: unlike `Display` it names no key, path,
    /// function, process or host.
    ///
    /// It advises whether to try again; the status code to answer with follows from
    /// [`kind`](Self::kind).
    ///
    /// ```
    /// use locks::{ErrorKind, LockError};
    /// let error = LockError::new(ErrorKind::Timeout, "refresh_7");
    /// assert_eq!(
    ///     error.public_message(),
    ///     "busy: another request held the lock for too long; try again later",
    /// );
    /// ```
    pub fn public_message(&self) -> &'static str {
        self.0.kind.public_message()
    }

    /// Returns the name of the backend, if the error came from one.
    pub fn backend(&self) -> Option<&str> {
        self.0.backend.as_deref()
    }
}

impl DeadlockStep {
    /// Creates a step: `waiter` waits for `wants`, which `holder` holds.
    pub fn new(wants: impl Into<String>, waiter: WaiterInfo, holder: HolderInfo) -> Self {
        Self { wants: wants.into(), waiter, holder }
    }
}

/// [`source`](Error::source) is the first underlying error whose text is not part of `Display`, so
/// that printing an error with all its sources prints each text once.
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
            // `Interrupted` would be asked again by those who retry.
            ErrorKind::Cancelled
            | ErrorKind::Lost { .. }
            | ErrorKind::NotConfigured
            | ErrorKind::Io => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
