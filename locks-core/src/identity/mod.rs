//! Identities of holders (C9): threads, scopes of async code, and explicit owners.

mod dropping;
mod names;
mod owner_chain;
mod parts;
mod shared;
mod small;

use std::cell::Cell;
use std::cmp;
use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

pub use self::dropping::{Enters, Leaves};
pub use self::owner_chain::OwnerChain;
pub use self::shared::SharedOwner;
pub(crate) use self::small::SmallOwner;

/// The identity of a holder or waiter ([C9](crate::contract#c9-re-entry),
/// [C10](crate::contract#c10-deadlocks)).
///
/// Each thread and each [`scope`] has one. [`OwnerId::unique`] and `OwnerId::from(number)` make
/// more, for [`LockBuilder::owner`](crate::LockBuilder::owner): all requests that name one count as
/// one holder.
///
/// `Display` prints it as errors and lists do: ``thread `worker-3` ``, or `thread 5` for one
/// without a name; `scope 17`, `owner 42`, `owner #8` for a unique one, and `shared owner 5f0c…`
/// for one that [processes share](SharedOwner).
///
/// # Examples
/// ```
/// use locks::OwnerId;
/// assert_eq!(OwnerId::from(42).to_string(), "owner 42");
/// assert_eq!(OwnerId::from(42).in_realm(3).to_string(), "owner 42 of client 3");
/// ```
#[derive(Clone, Copy)]
pub struct OwnerId {
    /// O1: whose it is. Of a shared owner that is no part of the identity: it is the same in every
    /// realm, and the realm says which client has named it.
    realm: u32,
    kind: OwnerKind,
    number: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum OwnerKind {
    Thread,
    Scope,
    /// Of one acquisition and nobody else: several keys taken together count as one holder.
    Acquisition,
    Explicit,
    Unique,
    /// A [`SharedOwner`], by its id.
    Shared,
}

impl OwnerId {
    /// Creates an identity that differs from every other one in this process.
    pub fn unique() -> Self {
        Self::local(OwnerKind::Unique, NEXT_NUMBER.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the same identity in another realm.
    ///
    /// A server gives each of its clients a realm, so that the identities of two clients never
    /// meet, except those that are [shared](SharedOwner), which stay the same. Realm 0 is this
    /// process.
    #[must_use]
    pub const fn in_realm(self, realm: u32) -> Self {
        Self { realm, ..self }
    }

    /// Returns the realm; 0 for this process.
    pub const fn realm(self) -> u32 {
        self.realm
    }

    pub(crate) fn acquisition() -> Self {
        Self::local(OwnerKind::Acquisition, NEXT_NUMBER.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) const fn is_scope(self) -> bool {
        matches!(self.kind, OwnerKind::Scope)
    }

    pub(crate) const fn is_thread(self) -> bool {
        matches!(self.kind, OwnerKind::Thread)
    }

    /// Returns `true` if it is the identity of a [`SharedOwner`], which other processes can share.
    pub const fn is_shared(self) -> bool {
        matches!(self.kind, OwnerKind::Shared)
    }

    /// Whether several threads and scopes may go by it, none of which has to be the one that waits.
    pub(crate) const fn is_name(self) -> bool {
        matches!(self.kind, OwnerKind::Explicit | OwnerKind::Unique)
    }

    /// What is known to have to go on, if it is known by this name alone (C10).
    #[doc(hidden)]
    pub fn runs(self) -> Option<Self> {
        (!self.is_shared()).then_some(self)
    }

    /// What makes it itself (O1).
    const fn identity(self) -> (u32, OwnerKind, u64) {
        let realm = if self.is_shared() { 0 } else { self.realm };
        (realm, self.kind, self.number)
    }

    /// A number that is spread over all of its bits.
    pub(crate) const fn spread(self) -> u64 {
        let (realm, kind, number) = self.identity();
        let number = number ^ (realm as u64) << 40 ^ (kind as u64) << 61;
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
    }

    const fn local(kind: OwnerKind, number: u64) -> Self {
        Self { realm: 0, kind, number }
    }
}

impl PartialEq for OwnerId {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for OwnerId {}

impl Hash for OwnerId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl PartialOrd for OwnerId {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OwnerId {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl From<u64> for OwnerId {
    fn from(number: u64) -> Self {
        Self::local(OwnerKind::Explicit, number)
    }
}

impl fmt::Debug for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({}", self.kind, self.number)?;
        match self.realm {
            0 => f.write_str(")"),
            realm => write!(f, " of {realm})"),
        }
    }
}

/// Starts at 1: in a slot's record zero is nobody.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

#[cfg(not(loom))]
thread_local! {
    static THREAD_NUMBER: Cell<u64> = const { Cell::new(0) };
}

// A model's threads are all one real thread.
#[cfg(loom)]
loom::thread_local! {
    static THREAD_NUMBER: Cell<u64> = Cell::new(0);
}

thread_local! {
    /// I1: null, or the scope that is being polled on this thread, which the [`Entered`] of that
    /// poll borrows for as long as it is here.
    static SCOPE: Cell<*mut Scope> = const { Cell::new(std::ptr::null_mut()) };
}

#[inline]
fn thread_number() -> u64 {
    match THREAD_NUMBER.with(Cell::get) {
        0 => number_thread(),
        number => number,
    }
}

#[cold]
fn number_thread() -> u64 {
    let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
    THREAD_NUMBER.with(|kept| kept.set(number));
    names::note(number);
    number
}

/// The enclosing scopes of a scope, innermost first. Lives on the heap, and only once a scope
/// has a scope inside it or waits for something.
#[derive(Debug)]
struct ScopeChain {
    number: u64,
    parent: Option<Arc<ScopeChain>>,
}

/// A scope: a stretch of async code that counts as one holder
/// ([C9](crate::contract#c9-re-entry)); see [`scope`].
///
/// Its parent is the scope in which it was opened. Nothing is allocated until a scope is opened
/// within it, or a request within it has to wait.
#[derive(Debug)]
pub struct Scope {
    number: u64,
    parent: Option<Arc<ScopeChain>>,
    shared: Option<Arc<ScopeChain>>,
}

impl Scope {
    /// Opens a scope within the one that is being polled, if any.
    pub fn open() -> Self {
        let parent = with_scope(|scope| scope.map(Scope::chain));
        Self { number: next_scope_number(), parent, shared: None }
    }

    /// Polls `future` in this scope.
    #[doc(hidden)]
    #[inline]
    pub fn poll<F: Future>(
        &mut self,
        future: Pin<&mut F>,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        let _entered = Entered::enter(self);
        future.poll(cx)
    }

    pub(crate) const fn small(&self) -> SmallOwner {
        SmallOwner::scope(self.number)
    }

    /// Returns the identity of the scope.
    pub const fn owner(&self) -> OwnerId {
        OwnerId::local(OwnerKind::Scope, self.number)
    }

    /// The scope and those around it, innermost first.
    pub(crate) fn within(&self) -> OwnerChain {
        let mut within = OwnerChain::default();
        within.push(self.owner());
        collect(self.parent.as_ref(), &mut within);
        within
    }

    fn chain(&mut self) -> Arc<ScopeChain> {
        let (number, parent) = (self.number, &self.parent);
        let make = || Arc::new(ScopeChain { number, parent: parent.clone() });
        self.shared.get_or_insert_with(make).clone()
    }
}

fn collect(mut chain: Option<&Arc<ScopeChain>>, within: &mut OwnerChain) {
    while let Some(scope) = chain {
        within.push(OwnerId::local(OwnerKind::Scope, scope.number));
        chain = scope.parent.as_ref();
    }
}

/// The identities of whoever runs now: the scopes being polled, innermost first, and then, if
/// the caller is `blocking`, the thread, which nobody else can use meanwhile.
pub(crate) fn current_within(blocking: bool) -> OwnerChain {
    let mut within = with_scope(|scope| scope.map(|scope| scope.within())).unwrap_or_default();
    if blocking {
        within.push(OwnerId::local(OwnerKind::Thread, thread_number()));
    }
    within
}

/// Returns the current identity: the innermost scope that is being polled, else this thread.
///
/// Pass it to work that other threads or tasks do on behalf of this one, and name it there as
/// `owner` ([C9](crate::contract#c9-re-entry)).
///
/// # Examples
/// ```
/// let guard = locks::named("ledger").acquire()?;
/// let me = locks::current();
/// std::thread::spawn(move || {
///     let inner = locks::named("ledger").owner(me).reentrant().acquire();
///     assert!(inner.is_ok());
/// })
/// .join()
/// .unwrap();
/// # drop(guard);
/// # Ok::<(), locks::LockError>(())
/// ```
pub fn current() -> OwnerId {
    SmallOwner::current().full().expect("a thread that runs has a number")
}

/// Scope numbers are taken in blocks, so that tasks on two cores do not fight over the counter.
fn next_scope_number() -> u64 {
    const BLOCK: u64 = 1024;
    thread_local! {
        static BLOCK_OF_THREAD: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    }
    let (next, end) = BLOCK_OF_THREAD.get();
    let (next, end) = if next < end {
        (next, end)
    } else {
        let start = NEXT_NUMBER.fetch_add(BLOCK, Ordering::Relaxed);
        (start, start + BLOCK)
    };
    BLOCK_OF_THREAD.set((next + 1, end));
    next
}

pin_project! {
    /// A future that runs in a [`Scope`]; made by [`scope`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Scoped<F> {
        enters: Enters,
        #[pin]
        future: F,
        leaves: Leaves,
    }
}

impl<F> Scoped<F> {
    /// Creates a future that runs `future` in `scope`.
    pub const fn new(scope: Scope, future: F) -> Self {
        Self { enters: Enters::new(Some(scope)), future, leaves: Leaves::new() }
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.enters.poll(this.leaves, this.future, cx)
    }
}

/// Runs `future` as one holder.
///
/// Requests inside it can re-enter what it holds, if they are `reentrant`; without that, a wait for
/// a lock of the scope itself fails with [`Deadlock`](crate::ErrorKind::Deadlock) instead of
/// hanging ([C9](crate::contract#c9-re-entry)). The scope opens at the first poll, within the scope
/// that is being polled then. Functions with `#[lock]` open one by themselves.
///
/// # Cancel safety
/// As that of `future`: dropping it drops the guards and requests inside, in the scope.
///
/// # Examples
/// ```
/// # async fn run() {
/// locks::scope(async {
///     let _guard = locks::named("ledger").owner(locks::current()).acquire_async().await?;
///     let again = locks::named("ledger").wait(true).owner(locks::current()).acquire_async().await;
///     assert_eq!(again.unwrap_err().kind(), locks::ErrorKind::Deadlock);
///     Ok::<(), locks::LockError>(())
/// })
/// .await
/// .unwrap();
/// # }
/// # use std::{future::Future, pin::pin, task::{Context, Poll, Waker}};
/// # let Poll::Ready(()) = pin!(run()).poll(&mut Context::from_waker(Waker::noop())) else { panic!() };
/// ```
pub const fn scope<F: Future>(future: F) -> Scoped<F> {
    Scoped { enters: Enters::new(None), future, leaves: Leaves::new() }
}

/// While this lives the scope is the thread's current one; then the one from before is again, also
/// when the poll panics.
struct Entered<'a> {
    outer: *mut Scope,
    borrowed: PhantomData<&'a mut Scope>,
}

impl<'a> Entered<'a> {
    #[inline]
    fn enter(scope: &'a mut Scope) -> Self {
        Self { outer: SCOPE.replace(scope), borrowed: PhantomData }
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        SCOPE.set(self.outer);
    }
}

/// Calls `look` with the scope that is being polled. `look` polls nothing and enters nothing.
#[inline]
fn with_scope<R>(look: impl FnOnce(Option<&mut Scope>) -> R) -> R {
    let scope = SCOPE.get();
    // SAFETY: by I1 it is null, or alive and borrowed by the `Entered` of a poll further up this
    // thread's stack, or of the `Enters` of a drop there, which do not look at it meanwhile. `look`
    // comes by here no second time.
    look(unsafe { scope.as_mut() })
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use super::*;

    fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn c9_a_scope_is_current_only_while_polled_and_knows_its_parents() {
        let thread = current();
        let inner = scope(poll_fn(|_| Poll::Ready(current_within(false))));
        let mut outer = std::pin::pin!(scope(async {
            let me = current();
            let mut inner = std::pin::pin!(inner);
            let mut seen = None;
            poll_fn(|cx| {
                if let Poll::Ready(within) = inner.as_mut().poll(cx) {
                    seen = Some(within);
                }
                Poll::Ready(())
            })
            .await;
            (me, seen.unwrap())
        }));
        let Poll::Ready((me, within)) = poll_once(outer.as_mut()) else { panic!("pending") };
        assert_eq!(within.len(), 2);
        assert_eq!(within[1], me);
        assert_ne!(within[0], me);
        assert_eq!(current(), thread);
    }

    #[test]
    fn c9_a_panic_in_a_poll_leaves_the_scope() {
        let thread = current();
        let mut future = Box::pin(scope(async { panic!("on purpose") }));
        let poll = std::panic::AssertUnwindSafe(|| {
            let _: Poll<()> = poll_once(future.as_mut());
        });
        std::panic::catch_unwind(poll).unwrap_err();
        assert_eq!(current(), thread);
    }
}
