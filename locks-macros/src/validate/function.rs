use syn::spanned::Spanned as _;
use syn::{Attribute, Error, Result, ReturnType, Type};

use super::body::CANCEL_IS_ASYNC;
use super::returned::future_output;
use super::{Lock, OnLost, Returned, tail};
use crate::parse::Function;

/// What runs under the lock.
pub(crate) enum Target {
    /// The body of a function that blocks.
    Sync(Returned),
    /// The body of an `async fn`.
    Async(Returned),
    /// The asynchronous block that the body ends in, as `async-trait` leaves it.
    Future(Returned),
}

/// Refuses what cannot run under a lock, and finds out how the rest does.
pub(crate) fn check(function: &Function, lock: &Lock) -> Result<Target> {
    let sig = &function.sig;
    if let Some(constness) = sig.constness {
        return Err(Error::new(
            constness,
            "a `const fn` cannot wait for a lock: drop the `const`, \
             or lock where it is called at run time",
        ));
    }
    if let Some(other) = function.attrs.iter().find(|attr| is_lock(attr)) {
        let name = other.path().segments.last().map_or_else(|| other.span(), |last| last.span());
        return Err(Error::new(
            name,
            "a second `#[lock]` on this function: list the keys in one, \
             as in `#[lock(\"a\", \"b\")]`, so that they are taken in one order",
        ));
    }
    let target = target(function, lock)?;
    let (returned, asynchronous) = match &target {
        Target::Sync(returned) => (returned, false),
        Target::Async(returned) | Target::Future(returned) => (returned, true),
    };
    if let OnLost::Cancel(span) = lock.on_lost
        && !asynchronous
    {
        return Err(Error::new(span, CANCEL_IS_ASYNC));
    }
    if let Returned::Opaque(span) | Returned::Never(span) = returned {
        if !matches!(lock.on_lost, OnLost::Continue) {
            return Err(Error::new(
                *span,
                "`on_lost` replaces the value by an error: \
                 return a `Result` whose error is `From<locks::LockError>`",
            ));
        }
        if lock.may_be_contended && lock.otherwise.is_none() {
            return Err(Error::new(*span, WAYS_OUT));
        }
    }
    Ok(target)
}

const WAYS_OUT: &str = "this return type cannot say that the lock was not acquired; \
     four ways out: return `()`; return an `Option`, which will be `None`; return a `Result` \
     whose error is `From<locks::LockError>`; or say what to return with `otherwise = value` or \
     `otherwise = |error| value`";

fn target(function: &Function, lock: &Lock) -> Result<Target> {
    let sig = &function.sig;
    let returned = Returned::new(&sig.output, sig.ident.span());
    if sig.is_async {
        return Ok(Target::Async(returned));
    }
    let output = match &sig.output {
        ReturnType::Type(_, ty) => future_output(ty),
        ReturnType::Default => None,
    };
    match output {
        Some(output) => returns_future(function, lock, output, &returned),
        None => Ok(Target::Sync(returned)),
    }
}

fn returns_future(
    function: &Function,
    lock: &Lock,
    output: Option<&Type>,
    returned: &Returned,
) -> Result<Target> {
    let body = function.body.stream();
    if tail::in_tail(body.clone(), &mut |group| group).is_none() {
        return Err(Error::new(
            returned.span(),
            "the lock would be released before this future runs: \
             make the function `async`, or end it in `Box::pin(async move { .. })`",
        ));
    }
    if let Some(span) = tail::other_return(body.clone()) {
        return Err(Error::new(
            span,
            "the future that this returns would run without the lock: make the function `async`, \
             or return from within the block at its end",
        ));
    }
    if let Some(name) = tail::shadowed(body, &lock.names()) {
        return Err(Error::new(
            name.span(),
            format!(
                "the key is made up when the future runs, and would be made of this `{name}` \
                 instead of the parameter: give one of them another name"
            ),
        ));
    }
    match output {
        Some(output) => Ok(Target::Future(Returned::of(output))),
        None => Err(Error::new(
            returned.span(),
            "say what this future yields, as in `impl Future<Output = ()>`",
        )),
    }
}

/// `#[lock(..)]` or `#[locks::lock(..)]`
fn is_lock(attr: &Attribute) -> bool {
    let path = attr.path();
    let segments = path.segments.iter().map(|segment| segment.ident.to_string());
    matches!(segments.collect::<Vec<_>>().join("::").as_str(), "lock" | "locks::lock")
}
