//! Named locks: one line makes a function or a block run one at a time.
//!
//! A mutex by name, and what grows out of it: shared locks, semaphores, leases, fencing tokens,
//! lock stealing, for sync and async code. The same call site is a mutex within the process, a file
//! lock (`flock`) among the processes of a machine, or a distributed lock among machines, by the
//! choice of the [backend](manual::backends).
//!
//! ```
//! use std::time::Duration;
//! use locks::lock;
//!
//! # struct User { id: u32 }
//! /// At most one refresh per user runs at a time; a second call skips it.
//! #[lock("refresh_{user.id}", wait = false, steal_after = "5s")]
//! fn refresh_token(user: &User) { /* … */ }
//!
//! # fn main() -> Result<(), locks::LockError> {
//! refresh_token(&User { id: 7 });
//!
//! // The same by hand.
//! let guard = locks::named("invoice:42").wait(Duration::from_secs(2)).acquire()?;
//! println!("fencing token {}", guard.token());
//! # Ok(()) }
//! ```
//!
//! - [`#[lock]`](macro@lock) puts a lock around a function, [`block::lock!`](block) around a block.
//! - [`named`] and [`all`] return a builder, to hold a lock by hand.
//! - [`scope`], [`current`] and the builder's `owner` define the identity of a holder.
//! - [`list`] returns the holders and waiters.
//! - [`install`] and `LOCKS_URL` choose the [backend](manual::backends), which without them is the
//!   engine in this process, with the feature `file` the files of this user, and with `net` the
//!   server that this user's processes run for each other.
//! - [`testing`] is for tests of code that uses locks, [`backend`] for writing a backend.
//!
//! The [manual] has a page for each topic. Begin with [what surprises](manual::surprises), or with
//! [what you come from](manual::coming_from).
//!
//! # Cargo features
//!
//! None is on by default.
//!
#![doc = include_str!("features.md")]
//!
//!
//! # Options
//!
//! Those of the attribute and of the block macro; the builder's methods bear the same names.
//!
#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("lock_options.md")]
//!
//! # Both macros bare
//! An attribute and a function-like macro of one name cannot both be imported into a module.
//! Write one of them with its path:
//! ```
//! use locks::block::lock;
//!
//! #[locks::lock("ledger")]
//! fn annotated() {}
//!
//! # fn main() -> Result<(), locks::LockError> {
//! # annotated();
//! let sum = lock!("ledger" => { 1 + 1 })?;
//! # assert_eq!(sum, 2);
//! # Ok(()) }
//! ```
//! or have the attribute come from the crate root, so that each module is free to import the
//! block macro:
//! ```
//! #[macro_use]
//! extern crate locks;
//!
//! mod books {
//!     use locks::block::lock;
//!
//!     #[lock("ledger")]
//!     pub fn annotated() {}
//!
//!     pub fn block() -> Result<u32, locks::LockError> {
//!         lock!("ledger" => { 1 + 1 })
//!     }
//! }
//! # fn main() {
//! # books::annotated();
//! # assert_eq!(books::block().unwrap(), 2);
//! # }
//! ```
#![forbid(unsafe_code)]

use std::borrow::Cow;

pub mod backend;
pub mod block;
#[cfg(any(feature = "file", feature = "net"))]
mod by_default;
mod choice;
mod defaults;
#[doc(hidden)]
pub mod duration;
mod elect;
pub mod manual;
mod opened;
pub mod testing;
mod url;

#[doc(hidden)]
#[path = "private/mod.rs"]
pub mod __private;

pub use elect::{Election, Leader, LeadershipLost, elect};
#[cfg(feature = "conformance")]
#[doc(inline)]
pub use locks_conformance as conformance;
#[cfg(feature = "conformance")]
pub use locks_conformance::conformance;
#[cfg(feature = "metrics")]
pub use locks_core::describe_metrics;
pub use locks_core::{
    Acquire, Backend, CallSite, CancelToken, DeadlockStep, ErrorKind, Guard, HolderInfo, Kind,
    LockBuilder, LockError, LockInfo, Lost, LostCause, MAX_KEY_LEN, Mode, Options, OwnedGuard,
    OwnerId, ProcessInfo, Reserve, Scope, Scoped, SharedOwner, Token, Wait, WaiterInfo, current,
    scope,
};
#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
#[doc(inline)]
pub use locks_engines as engines;
#[cfg(feature = "file")]
#[doc(inline)]
pub use locks_file as file;
#[doc = include_str!("lock_attribute.md")]
#[doc = ""]
#[doc = include_str!("lock_options.md")]
#[doc = ""]
#[doc = include_str!("lock_outcome.md")]
pub use locks_macros::lock;
#[cfg(feature = "net")]
#[doc(inline)]
pub use locks_net as net;

/// Creates a builder for the lock `key` at the default backend.
///
/// Nothing happens before [`acquire`](LockBuilder::acquire) or
/// [`acquire_async`](LockBuilder::acquire_async), not even a check of the key.
///
/// # Examples
/// ```
/// let builder = locks::named("report").shared();
/// let first = builder.clone().acquire()?;
/// let second = builder.acquire()?;
/// assert!(locks::named("report").wait(false).acquire().unwrap_err().is_contended());
/// # Ok::<(), locks::LockError>(())
/// ```
pub fn named<'k>(key: impl Into<Cow<'k, str>>) -> LockBuilder<'k> {
    LockBuilder::named(key).on_choice(choice::default_backend)
}

/// Creates a builder for all of `keys` at the default backend, granted all or none.
///
/// Two such requests never deadlock each other, whatever the order of their keys. A key that is
/// given twice counts once; without any key the acquisition fails with `InvalidKey`
/// ([C11](manual::contract#c11-several-keys)).
///
/// # Examples
/// ```
/// let guard = locks::all(["account_7", "account_3"]).acquire()?;
/// assert!(locks::named("account_3").wait(false).acquire().is_err());
/// # Ok::<(), locks::LockError>(())
/// ```
pub fn all<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> LockBuilder<'static> {
    LockBuilder::all(keys).on_choice(choice::default_backend)
}

/// Returns the default backend, which call sites use that name none: the one that was
/// [installed](install), or that of `LOCKS_URL`, or else the one that the Cargo features say.
///
/// Like an acquisition, it settles which one that is. [`Backend::default`] is something else: the
/// engine of this process.
///
/// # Errors
/// `NotConfigured` if `LOCKS_URL` makes no sense, and what keeps the backend from being opened.
///
/// # Examples
/// ```
/// let locks = locks::default_backend()?;
/// let _guard = locks.named("report").acquire()?;
/// assert!(locks::named("report").wait(false).acquire().unwrap_err().is_contended());
/// # Ok::<(), locks::LockError>(())
/// ```
pub fn default_backend() -> Result<Backend, LockError> {
    choice::default_backend(Kind::Strong)
}

/// Returns every key of the default backend that is held, waited for or reserved.
///
/// Blocks until a remote backend has answered. Like an acquisition, it settles which backend is the
/// default one ([C12](manual::contract#c12-holder-information)).
///
/// # Errors
/// `Unsupported` if the backend cannot list, `NotConfigured` if there is none, `Unavailable` if it
/// does not answer.
///
/// # Examples
/// ```
/// let _guard = locks::named("report").acquire()?;
/// for lock in locks::list()? {
///     println!("{lock}"); // `report`: held by thread `main`, …
/// }
/// # Ok::<(), locks::LockError>(())
/// ```
pub fn list() -> Result<Vec<LockInfo>, LockError> {
    choice::default_backend(Kind::Strong)?.list()
}

/// Returns every key of the default backend that is held, waited for or reserved, without blocking.
///
/// # Examples
/// ```
/// # use std::{future::Future, pin::pin, task::{Context, Poll, Waker}};
/// # let run = async {
/// let _guard = locks::named("report").acquire_async().await?;
/// assert_eq!(locks::list_async().await?[0].key, "report");
/// # Ok::<(), locks::LockError>(()) };
/// # let Poll::Ready(ran) = pin!(run).poll(&mut Context::from_waker(Waker::noop())) else { panic!() };
/// # ran.unwrap();
/// ```
///
/// # Errors
/// As [`list`].
///
/// # Cancel safety
/// Dropping the future has no effect.
pub async fn list_async() -> Result<Vec<LockInfo>, LockError> {
    choice::default_backend(Kind::Strong)?.list_async().await
}

/// Returns another guard of the hold of `key` that this thread, or the annotated function around,
/// has at the default backend; see [`Backend::current_guard`].
///
/// ```
/// use locks::lock;
///
/// #[lock("import")]
/// fn import() -> Result<(), locks::LockError> {
///     step()
/// }
///
/// fn step() -> Result<(), locks::LockError> {
///     let guard = locks::current_guard("import")?.expect("`import` has it");
///     guard.check()?; // not lost?
///     guard.refresh() // alive: `steal_after` of others counts from now
/// }
/// import()?;
/// assert!(locks::current_guard("import")?.is_none());
/// # Ok::<(), locks::LockError>(())
/// ```
///
/// # Errors
/// As [`Backend::current_guard`].
#[track_caller]
pub fn current_guard(key: &str) -> Result<Option<Guard>, LockError> {
    choice::default_backend(Kind::Strong)?.current_guard(key)
}

/// Returns what [`current_guard`] returns, without blocking, of the annotated function or scope
/// around.
///
/// ```
/// use locks::lock;
///
/// #[lock("import")]
/// async fn import() -> Result<(), locks::LockError> {
///     step().await
/// }
///
/// async fn step() -> Result<(), locks::LockError> {
///     let guard = locks::current_guard_async("import").await?.expect("`import` has it");
///     guard.refresh()
/// }
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// import().await?;
/// assert!(locks::current_guard_async("import").await?.is_none());
/// # Ok::<(), locks::LockError>(()) })?;
/// # Ok::<(), locks::LockError>(())
/// ```
///
/// # Errors
/// As [`Backend::current_guard`].
///
/// # Cancel safety
/// Dropping the future leaves nothing behind.
pub async fn current_guard_async(key: &str) -> Result<Option<OwnedGuard>, LockError> {
    choice::default_backend(Kind::Strong)?.current_guard_async(key).await
}

/// Makes `backend` the default one of this process, instead of the one that `LOCKS_URL` names.
///
/// Call it once, first thing in `main`.
///
/// # Examples
/// ```
/// locks::install(locks::open("memory:?wait=20s")?)?;
/// # Ok::<(), locks::LockError>(())
/// ```
///
/// # Errors
/// [`NotConfigured`](ErrorKind::NotConfigured) if one has been installed before, or if the default
/// backend has been used already: the locks of one program would then be at two backends.
pub fn install(backend: impl Into<Backend>) -> Result<(), LockError> {
    choice::install(Kind::Strong, backend.into())
}

/// Makes `backend` serve the locks of [`Kind::Weak`], which are there only to save work.
///
/// Without one, the default backend serves them too.
///
/// # Examples
/// ```
/// // Payments at the database, caches within the process.
/// locks::install_weak(locks::open("memory:")?)?;
/// # Ok::<(), locks::LockError>(())
/// ```
///
/// # Errors
/// As [`install`].
pub fn install_weak(backend: impl Into<Backend>) -> Result<(), LockError> {
    choice::install(Kind::Weak, backend.into())
}

/// Opens the backend at `url`, for [`install`] and [`LockBuilder::on`].
///
/// The environment variable `LOCKS_URL` takes the same URLs.
///
/// | URL | who is excluded | feature |
/// |---|---|---|
/// | `memory:` | threads and tasks of this process | |
/// | `file:`, `file:///directory` | processes of this machine, by lock files | `file` |
/// | `net:`, `net:///directory` | processes of this machine, by a server that they run for each other | `net` |
/// | `unix:`, `unix:///path` | clients of a `locks serve` on this machine | `net` |
/// | `locks://host:7420` | clients of a `locks serve` on any machine, who know its secret | `tcp` |
/// | `redis://db.example:6379/0`, `rediss:` by TLS | clients of a Redis server, or cluster | `redis` |
/// | `postgres://app@db.example/billing` | clients of a PostgreSQL server | `postgres` |
/// | `etcd://10.0.0.1:2379,10.0.0.2:2379/billing` | clients of an etcd cluster | `etcd` |
///
/// A URL that is open already is not opened again: all handles share one client, with one
/// connection, until the last of them is dropped. The [manual](manual::backends) describes each
/// scheme. No connection is made before the first request. Options after a `?` are defaults for
/// requests that do not set them:
///
/// | option | meaning |
/// |---|---|
/// | `wait=20s`, `wait=true`, `wait=false` | how long to wait |
/// | `lease=30s` | how long the backend keeps a lock for a holder that no longer answers; no effect where holds cannot expire, as in this process |
/// | `namespace=billing` | put `billing/` before every key, so that programs at one backend do not meet by accident; the longest key becomes shorter by as much |
/// | `label`, `users`, `network_fs`, `connect`, `serve`, `user`, `secret_file`, `ca`, `pin`, `cert`, `key`, `password_file`, `fresh`, `evictable`, `max_lag`, `tls` | of some only; see the [manual](manual::backends#the-url) |
///
/// ```
/// let backend = locks::open("memory:?wait=50ms&namespace=billing")?;
/// let guard = backend.named("invoice:42").acquire()?;
/// assert_eq!(locks::list()?[0].key, "billing/invoice:42");
/// assert!(backend.named("invoice:42").acquire().is_err());
/// # Ok::<(), locks::LockError>(())
/// ```
///
/// # Errors
/// [`NotConfigured`](ErrorKind::NotConfigured) for a URL that makes no sense, which names what is
/// allowed, and any error of opening the backend. No error repeats the URL, since it could contain
/// a secret; a secret in a URL is refused.
pub fn open(url: &str) -> Result<Backend, LockError> {
    opened::open(url)
}

/// Opens the file backend at a `file:` URL, for the command's `clean`.
#[cfg(feature = "file")]
#[doc(hidden)]
pub fn open_files(url: &str) -> Result<file::FileBackend, LockError> {
    url::open_files(url)
}

/// Opens the file backend at a `file:` URL, for the command's `run --no-fork`: with what the URL
/// says for requests that do not, and as it is. Without a URL it is the default one of this
/// process.
#[cfg(feature = "file")]
#[doc(hidden)]
pub fn open_files_to_keep(url: Option<&str>) -> Result<(Backend, file::FileBackend), LockError> {
    if url.is_none() {
        by_default::declare("file:")?;
    }
    url::open_files_to_keep(url.unwrap_or("file:"))
}

/// Has this process keep its lock with this token, and its default backend, when it executes
/// another program, for the command's `run --no-fork`.
#[cfg(feature = "file")]
#[doc(hidden)]
pub fn keep_across_exec(files: &file::FileBackend, token: Token) -> Result<(), LockError> {
    files.keep_across_exec(token)?;
    by_default::keep_across_exec()
}

/// Opens the backend at a URL, for the command's `run`: a server hears of this process by that
/// name, and under the label, unless the URL has another. The second is the server, where there is
/// one.
#[cfg(feature = "net")]
#[doc(hidden)]
pub fn open_labelled(
    url: &str,
    label: &str,
    process: &str,
) -> Result<(Backend, Option<net::NetBackend>), LockError> {
    url::open_labelled(url, label, process)
}

/// Opens the backend at a URL, for the command's `ls` and `ping`: no process of `net:` begins to
/// serve for being looked at. The second is the server, where there is one.
#[cfg(feature = "net")]
#[doc(hidden)]
pub fn open_to_look(url: &str) -> Result<(Backend, Option<net::NetBackend>), LockError> {
    url::open_to_look(url)
}

/// Opens the backend at a URL, as the default one of this process, for the command's `run`.
#[cfg(any(feature = "file", feature = "net"))]
#[doc(hidden)]
pub fn open_by_default(url: &str) -> Result<Backend, LockError> {
    by_default::open(url)
}

/// Returns the backend that the programs of this user that run now have by default, for the
/// command's `ls`.
#[cfg(any(feature = "file", feature = "net"))]
#[doc(hidden)]
pub fn default_in_use() -> Result<Option<String>, LockError> {
    by_default::in_use()
}

/// Returns the place of a server without options, for the command's `serve`: its directory, and its
/// socket. What is above them is made.
#[cfg(feature = "net")]
#[doc(hidden)]
pub fn place_of_server() -> Result<[std::path::PathBuf; 2], LockError> {
    url::made_default_directory()?;
    Ok([url::directory_of_server()?, url::socket_of_server()?])
}

/// The README's examples, compiled and run as the others are.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
