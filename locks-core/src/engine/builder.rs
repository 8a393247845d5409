use std::fmt;
use std::sync::Arc;

use super::Engine;
use super::ports::{Observer, Time, TokenSource, Upstream};
use super::table::{Core, Registry, Waits};
use crate::{BackendInfo, Capabilities, Clock, LockError, Token};

/// A builder for an [`Engine`] with its own clock, tokens, observer or upstream; see
/// [`Engine::builder`].
#[must_use = "a builder makes no engine until `build`"]
pub struct EngineBuilder {
    about: BackendInfo,
    clock: Time,
    tokens: Option<Arc<dyn TokenSource>>,
    floor: Token,
    upstream: Option<Arc<dyn Upstream>>,
    observer: Option<Arc<dyn Observer>>,
}

impl EngineBuilder {
    pub(super) fn new(about: BackendInfo) -> Self {
        Self {
            about,
            clock: Time::System,
            tokens: None,
            floor: Token::new(0),
            upstream: None,
            observer: None,
        }
    }

    /// Sets the name of the engine, and restricts its capabilities.
    pub fn about(mut self, about: BackendInfo) -> Self {
        self.about = about;
        self
    }

    /// Sets the clock, in place of [`SystemClock`](crate::SystemClock).
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Time::Other(clock);
        self
    }

    /// Sets the source of fencing tokens, in place of a counter for each key.
    pub fn tokens(mut self, tokens: Arc<dyn TokenSource>) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// Makes every token greater than `floor`, for an engine that continues where another one
    /// stopped.
    ///
    /// It has no effect on the tokens of an [`Upstream`].
    ///
    /// # Errors
    /// `Protocol` if it is not below 2^60, so that all that follow are below 2^61.
    pub fn token_floor(mut self, floor: Token) -> Result<Self, LockError> {
        if !floor.is_followed() {
            return Err(floor.not_followed(""));
        }
        self.floor = floor;
        Ok(self)
    }

    /// Sets an observer, which is called for every hold that ends without being released by its
    /// guard.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Places the engine in front of `upstream`, which confirms every grant.
    ///
    /// Upgrades are `Unsupported` then, since a grant of the upstream does not change its mode, and
    /// so are [shared owners](crate::SharedOwner), whom it does not know, and [several
    /// permits](crate::LockBuilder::take) for one hold, which it does not count.
    pub fn upstream(mut self, upstream: Arc<dyn Upstream>) -> Self {
        self.upstream = Some(upstream);
        self
    }

    /// Builds the engine.
    pub fn build(mut self) -> Engine {
        if self.upstream.is_some() {
            self.about.capabilities.upgrade = false;
            self.about.capabilities.several_permits = false;
            self.about.capabilities.shared_owner = false;
        }
        // The fast path looks at no capabilities.
        let has_fast_path = self.tokens.is_none()
            && self.upstream.is_none()
            && self.about.capabilities == Capabilities::process();
        Engine {
            core: Arc::new(Core {
                about: self.about,
                registry: Registry::new(self.floor, has_fast_path),
                clock: self.clock,
                tokens: self.tokens,
                upstream: self.upstream,
                observer: self.observer,
                waits: Waits::default(),
                has_fast_path,
            }),
        }
    }
}

impl fmt::Debug for EngineBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EngineBuilder({})", self.about.name)
    }
}
