//! What becomes of a body's value when its lock has been lost (`on_lost`), or when the release
//! fails.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use locks_core::{Guard, LockError, OwnedGuard};

/// What a function returns that has to tell of a lost lock.
#[diagnostic::on_unimplemented(
    message = "a function that returns `{Self}` cannot say that its lock was lost",
    label = "`on_lost = \"error\"` and `on_lost = \"cancel\"` replace this by an error",
    note = "return a `Result` whose error is `From<locks::LockError>`"
)]
pub trait TellsLoss<M = ()>: Sized {
    /// An error, unless `output` is one already. `None`: the body was dropped.
    fn or_lost(output: Option<Self>, error: LockError) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T, E: From<LockError>, M> TellsLoss<M> for Result<T, E> {
    fn or_lost(output: Option<Self>, error: LockError) -> Self {
        match output {
            Some(Err(own)) => Err(own),
            _ => Err(error.into()),
        }
    }
}

/// [`TellsLoss::or_lost`], to be passed on.
pub fn or_lost<R: TellsLoss>(output: Option<R>, error: LockError) -> R {
    R::or_lost(output, error)
}

/// [`or_lost`] of what may be a type parameter; see [`unnameable`](super::unnameable).
pub fn or_lost_for<R: TellsLoss<M>, M>(_: M) -> fn(Option<R>, LockError) -> R {
    R::or_lost
}

/// Runs a body that may leave early in as many ways as it likes, so that its value can be seen.
#[inline]
pub fn run_once<R>(body: impl FnOnce() -> R) -> R {
    body()
}

/// Releases the lock of a function that ran. Its value stands, so a failure is only reported.
#[inline]
pub async fn release(guard: OwnedGuard) {
    if !guard.is_plain() {
        let _ = lost(guard.release_async().await);
    }
}

/// Releases the lock of what may have been marked as done, and waits until the arbiter knows: a
/// process that ended right after would take the mark along. The value stands, so a failure is only
/// reported.
pub fn release_and_keep<R>(guard: Guard, output: R) -> R {
    let _ = lost(guard.release());
    output
}

/// Releases the lock; `output` stands unless it is an `Ok` whose lock was lost.
pub fn release_and_return<R>(guard: Guard, output: R, or_lost: OrLost<R>) -> R {
    match lost(guard.release()) {
        Some(error) => or_lost(Some(output), error),
        None => output,
    }
}

/// What makes a loss of a value: [`or_lost`] of its type.
type OrLost<R> = fn(Option<R>, LockError) -> R;

/// [`release_and_return`] without blocking.
pub async fn release_and_return_async<R>(guard: OwnedGuard, output: R, or_lost: OrLost<R>) -> R {
    match lost(guard.release_async().await) {
        Some(error) => or_lost(Some(output), error),
        None => output,
    }
}

/// [`release_and_return`] for a block, whose value may be anything.
///
/// # Errors
/// `Lost`.
pub fn release_and_return_value<T>(guard: Guard, output: T) -> Result<T, LockError> {
    match lost(guard.release()) {
        Some(error) => Err(error),
        None => Ok(output),
    }
}

/// [`release_and_return_value`] without blocking.
///
/// # Errors
/// `Lost`.
pub async fn release_and_return_value_async<T>(
    guard: OwnedGuard,
    output: T,
) -> Result<T, LockError> {
    match lost(guard.release_async().await) {
        Some(error) => Err(error),
        None => Ok(output),
    }
}

/// The value of a block, which stands unless its lock was `lost`.
///
/// # Errors
/// `Lost`.
#[inline]
pub fn unless_lost<T>(output: T, lost: Result<(), LockError>) -> Result<T, LockError> {
    lost.map(|()| output)
}

/// The loss, if that is what the release found, which was reported when it happened. Other
/// failures are reported here.
pub(super) fn lost(released: Result<(), LockError>) -> Option<LockError> {
    let error = released.err()?;
    if error.is_lost() {
        return Some(error);
    }
    locks_core::report_release(&error);
    None
}

/// Runs `body` until it is done or `guard` is lost; then the caller drops it where it waits. Taken
/// by reference, as an `async fn` keeps its arguments twice.
///
/// # Errors
/// `Lost`.
pub async fn cancel_when_lost<F: Future>(
    guard: &OwnedGuard,
    mut body: Pin<&mut F>,
) -> Result<F::Output, LockError> {
    let mut loss = pin!(guard.lost());
    std::future::poll_fn(|cx: &mut Context<'_>| {
        if loss.as_mut().poll(cx).is_ready()
            && let Err(error) = guard.check()
        {
            return Poll::Ready(Err(error));
        }
        Pin::as_mut(&mut body).poll(cx).map(Ok)
    })
    .await
}

/// What a function returns whose body was run by [`cancel_when_lost`].
pub async fn release_and_return_unless_lost<R>(
    guard: OwnedGuard,
    output: Result<R, LockError>,
    or_lost: OrLost<R>,
) -> R {
    match output {
        Ok(output) => release_and_return_async(guard, output, or_lost).await,
        Err(error) => or_lost(None, error),
    }
}
