//! How a function says that its body did not run (A2, A3).

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;

use locks_core::LockError;

/// What a function can return instead of running its body.
#[diagnostic::on_unimplemented(
    message = "a function that returns `{Self}` cannot say that its lock was not acquired",
    label = "the body does not always run, and this type has no value for that",
    note = "four ways out: return `()`; return an `Option`, which will be `None`; return a \
            `Result` whose error is `From<locks::LockError>`; or say what to return with \
            `otherwise = value` or `otherwise = |error| value`"
)]
pub trait EarlyReturn<M = ()>: Sized {
    /// The value that says why; panics with the error's text where it cannot say so.
    fn early(error: LockError) -> Self;
}

impl<M> EarlyReturn<M> for () {
    #[track_caller]
    fn early(error: LockError) {
        if !error.is_contended() {
            fault(error);
        }
    }
}

impl<T, M> EarlyReturn<M> for Option<T> {
    #[track_caller]
    fn early(error: LockError) -> Self {
        if error.is_contended() { None } else { fault(error) }
    }
}

#[diagnostic::do_not_recommend]
impl<T, E: From<LockError>, M> EarlyReturn<M> for Result<T, E> {
    fn early(error: LockError) -> Self {
        Err(error.into())
    }
}

/// What a function returns whose lock may be contended.
#[cold]
#[track_caller]
pub fn bail<R: EarlyReturn>(error: LockError) -> R {
    R::early(error)
}

/// [`bail`] for what may be a type parameter.
#[cold]
#[track_caller]
pub fn bail_for<R: EarlyReturn<M>, M>(_: M, error: LockError) -> R {
    R::early(error)
}

/// What a function comes to whose lock may be contended, of which [`bail`] makes a value.
#[track_caller]
pub fn or_bail<R: EarlyReturn>(outcome: Result<R, LockError>) -> R {
    match outcome {
        Ok(output) => output,
        Err(error) => bail(error),
    }
}

/// What a function comes to that has no value for a failed acquisition.
#[track_caller]
pub fn or_fault<R>(outcome: Result<R, LockError>) -> R {
    match outcome {
        Ok(output) => output,
        Err(error) => fault(error),
    }
}

/// What a function comes to that makes a value of its own of a failed acquisition.
pub fn or_told<R>(outcome: Result<R, LockError>, value: impl FnOnce(LockError) -> R) -> R {
    outcome.unwrap_or_else(value)
}

/// The argument of traits of ours that a type parameter lacks. Its type has no name, and so the
/// compiler does not advise to write our trait, which is private, behind the parameter.
pub const fn unnameable() {}

/// What a function does that has no value for a failed acquisition: `panic!`.
#[cold]
#[track_caller]
pub fn fault(error: LockError) -> ! {
    panic!("{error}")
}

/// Whether `otherwise = value` answers the error, which it does for contention alone (A3).
pub fn contended(error: &LockError) -> bool {
    error.is_contended()
}

/// The value of `otherwise = |error| value`.
pub fn otherwise<R>(value: impl FnOnce(LockError) -> R, error: LockError) -> R {
    value(error)
}

/// What a block evaluates to whose `otherwise` has answered.
///
/// # Errors
/// None; it fixes the type.
pub const fn instead<T>(value: T) -> Result<T, LockError> {
    Ok(value)
}

/// Stands where nobody comes by, and has any type.
#[cold]
pub fn unreached<T>() -> T {
    unreachable!("the first arm always matches")
}

/// Stands where nobody comes by. Behind it nothing counts as used, and nothing is called
/// unreachable, as it would be behind a `!`.
#[cold]
pub fn gone() -> std::convert::Infallible {
    unreached()
}

/// Runs the body of a function that returns `!`.
pub async fn never<F: Future<Output = Never>>(body: F) -> ! {
    body.await
}

/// A name for `!`, which has none where it is not a return type.
type Never = <fn() -> ! as Returning>::Output;

/// What functions return.
pub trait Returning {
    /// The return type.
    type Output;
}

impl<R> Returning for fn() -> R {
    type Output = R;
}

/// The named return type of a function, to be asked what it can express.
///
/// `__locks_early` is found in this order: here, if the type can say it; in [`PlainResult`], which
/// refuses to compile, if it is a `Result` of another error; in [`AnyReturn`], which panics.
/// `__locks_fault` skips the second. The names are such that no trait of the user's has them.
#[derive(Debug, Clone, Copy)]
pub struct Returns<R>(PhantomData<fn() -> R>);

impl<R> Returns<R> {
    /// A type that [`__locks_is`](Self::__locks_is) tells.
    #[expect(clippy::new_without_default, reason = "only expansions make one")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }

    /// Tells the type; never called.
    pub fn __locks_is(&self, _output: R) {}
}

impl<R: EarlyReturn> Returns<R> {
    /// The value that says why the body did not run.
    #[cold]
    #[track_caller]
    pub fn __locks_early(self, error: LockError) -> R {
        R::early(error)
    }

    /// The same where `otherwise` has answered contention.
    #[cold]
    #[track_caller]
    pub fn __locks_fault(self, error: LockError) -> R {
        R::early(error)
    }
}

impl<P, E> Returns<Result<Pin<P>, E>>
where
    Pin<P>: Future,
{
    /// Refuses to compile, as `__locks_runs_in_time` does.
    pub fn __locks_value_runs_in_time<M>(self, _: M)
    where
        Result<Pin<P>, E>: RunsUnderItsLock<M>,
    {
    }
}

impl<P> Returns<Option<Pin<P>>>
where
    Pin<P>: Future,
{
    /// Refuses to compile, as `__locks_runs_in_time` does.
    pub fn __locks_value_runs_in_time<M>(self, _: M)
    where
        Option<Pin<P>>: RunsUnderItsLock<M>,
    {
    }
}

impl<R: Future> Returns<R> {
    /// Refuses to compile: the lock would end before the future starts.
    pub fn __locks_runs_in_time<M>(self, _: M)
    where
        R: RunsUnderItsLock<M>,
    {
    }
}

/// Implemented by nothing: what a function would have to return whose future runs after its end.
#[diagnostic::on_unimplemented(
    message = "the lock would be released before this future runs",
    label = "returned by the function, and run after it",
    note = "await it in the function and return what comes of it: make the function `async`, or end it \
            in `Box::pin(async move {{ .. }})`"
)]
pub trait RunsUnderItsLock<M> {}

/// A `Result` whose error cannot say that the lock was not acquired.
pub trait PlainResult<R>: Sized {
    /// Does not compile: `R` says in its own words what it lacks.
    fn __locks_early(self, error: LockError) -> R
    where
        R: EarlyReturn,
    {
        R::early(error)
    }
}

impl<T, E> PlainResult<Result<T, E>> for Returns<Result<T, E>> {}

/// Every other type.
pub trait AnyReturn<R>: Sized {
    /// Panics: there is no value for it.
    #[cold]
    #[track_caller]
    fn __locks_early(self, error: LockError) -> R {
        fault(error)
    }

    /// Panics: there is no value for it.
    #[cold]
    #[track_caller]
    fn __locks_fault(self, error: LockError) -> R {
        fault(error)
    }

    /// It does.
    fn __locks_runs_in_time<M>(self, _: M) {}

    /// What is in it does.
    fn __locks_value_runs_in_time<M>(self, _: M) {}
}

impl<R> AnyReturn<R> for &Returns<R> {}
