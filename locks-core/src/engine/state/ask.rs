use std::time::Duration;

use crate::clock::Moment;
use crate::request::Caller;
use crate::{Mode, Options, Reserve, Wait};

/// A request for one key, on its own.
#[derive(Clone, Debug)]
pub(in crate::engine) struct KeyRequest {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) mode: Mode,
    pub(in crate::engine) steal_after: Option<Duration>,
    pub(in crate::engine) reentrant: bool,
    pub(in crate::engine) only_nests: bool,
    pub(in crate::engine) fair: Option<bool>,
    pub(in crate::engine) at_least: Option<Duration>,
    pub(in crate::engine) at_most: Option<Duration>,
    /// Whether `at_least` reserves only what was marked as done.
    pub(in crate::engine) if_done: bool,
    /// Whether it may queue.
    pub(in crate::engine) waits: bool,
    /// When it was asked for the first time, if this is not it.
    pub(in crate::engine) requested_at: Option<Moment>,
    /// Whether a grant is provisional: it does not age until it is committed.
    pub(in crate::engine) provisional: bool,
    /// Since when it waits, if its grant is provisional for an upstream.
    pub(in crate::engine) provisional_since: Option<Moment>,
    /// Whether an upstream decides between provisional holds, so that a thief does not queue behind
    /// one.
    pub(in crate::engine) has_upstream: bool,
}

impl KeyRequest {
    pub(in crate::engine) fn new(caller: Caller, options: &Options) -> Self {
        let (at_least, at_most) = options.bounds();
        Self {
            caller,
            mode: options.mode,
            steal_after: options.steal_after,
            reentrant: options.reentrant,
            only_nests: options.only_nests,
            fair: options.fair,
            at_least,
            at_most,
            if_done: options.reserve == Reserve::IfDone,
            waits: options.wait != Some(Wait::Try),
            requested_at: None,
            provisional: false,
            provisional_since: None,
            has_upstream: false,
        }
    }

    /// Whether it would make a shared hold of the caller's exclusive, which an upstream has no word
    /// for.
    pub(super) const fn upgrades(&self) -> bool {
        self.reentrant && matches!(self.mode, Mode::Exclusive) && !self.has_upstream
    }
}

/// How long newcomers may barge past the first waiter (C3).
pub(in crate::engine) const BARGE_WINDOW: Duration = Duration::from_micros(500);
