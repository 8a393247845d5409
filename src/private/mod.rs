//! What the macros expand to. Nothing here is for direct use, and all of it may change with any
//! release.

mod acquisition;
mod awaited;
mod early;
mod key;
mod locked;
mod loss;
mod outcome;
mod site;

pub use core::borrow::Borrow;
pub use core::future::Future;
pub use core::option::Option::{None, Some};
pub use core::pin::pin;
pub use core::result::Result::{Err, Ok};
pub use core::time::Duration;
pub use core::{concat, format_args, module_path};

pub use locks_core::{FunctionSite, Guard, Kind, LockBuilder, OwnedGuard, Scope, Scoped};

pub use acquisition::Acquisition;
pub use awaited::Awaited;
pub use early::{
    AnyReturn, EarlyReturn, PlainResult, Returning, Returns, RunsUnderItsLock, bail, bail_for,
    contended, fault, gone, instead, never, or_bail, or_fault, or_told, otherwise, unnameable,
    unreached,
};
pub use key::Key;
pub use locked::{Asked, Body, Locked, Stage, body, locked};
pub use loss::{
    TellsLoss, cancel_when_lost, or_lost, or_lost_for, release, release_and_keep,
    release_and_return, release_and_return_async, release_and_return_unless_lost,
    release_and_return_value, release_and_return_value_async, run_once, unless_lost,
};
pub use outcome::{AnyOutcome, Marked, Outcome, mark_done, noted};
pub use site::{Fixed, Here, Options, Pinned, Place, Site, fixed, on, plain};
