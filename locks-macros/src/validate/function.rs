use proc_macro2::Span;
use syn::spanned::Spanned as _;
use syn::{Attribute, Error, Path, Result, ReturnType, Type, parse_quote_spanned};

use super::body::CANCEL_IS_ASYNC;
use super::returned::{future_output, may_be_future};
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
    if let Some(other) = function.attrs.iter().find(|attr| is_lock(attr, lock)) {
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
    let ReturnType::Type(_, ty) = &sig.output else { return Ok(Target::Sync(returned)) };
    let output = future_output(ty);
    if output.is_none() && !may_be_future(ty) {
        return Ok(Target::Sync(returned));
    }
    let asynchronous = tail::in_tail(function.body.stream(), &mut |group| group).is_some();
    match (asynchronous, output) {
        (false, None) => Ok(Target::Sync(returned)),
        (false, Some(_)) => Err(Error::new(
            returned.span(),
            "the lock would be released before this future runs: \
             make the function `async`, or end it in `Box::pin(async move { .. })`",
        )),
        (true, output) => {
            alone(function, lock)?;
            output_of(output.flatten(), returned, lock).map(Target::Future)
        }
    }
}

/// Refuses what would make another future of it, or another key, than the block at the end of
/// `function`.
fn alone(function: &Function, lock: &Lock) -> Result<()> {
    let body = function.body.stream();
    if let Some(span) = tail::other_return(body.clone()) {
        return Err(Error::new(
            span,
            "the future that this returns would run without the lock: make the function `async`, \
             or return from within the block at its end",
        ));
    }
    if let Some(name) = tail::changing(function.sig.inputs.stream(), &body, &lock.names()) {
        return Err(Error::new(
            name.span(),
            format!(
                "the key is made up when the future runs, and `{name}` may be another by then: \
                 take the `mut` into the block at the end, as in `let mut {name} = {name};`"
            ),
        ));
    }
    match tail::shadowed(body, &lock.names()) {
        None => Ok(()),
        Some(name) => Err(Error::new(
            name.span(),
            format!(
                "the key is made up when the future runs, and would be made of this `{name}` \
                 instead of the parameter: give one of them another name"
            ),
        )),
    }
}

/// What the future yields that a function returns: as its type says, or, behind an alias or an
/// associated type, whatever that is.
fn output_of(output: Option<&Type>, returned: Returned, lock: &Lock) -> Result<Returned> {
    match (output, returned) {
        (Some(output), _) => Ok(Returned::of(output)),
        (None, Returned::Named(ty)) => {
            let span = ty.span().resolved_at(Span::mixed_site());
            let private = lock.private(span);
            let ty = parse_quote_spanned!(span=> <#ty as #private::Future>::Output);
            Ok(Returned::Named(Box::new(ty)))
        }
        (None, other) => Err(Error::new(
            other.span(),
            "say that this is a future, and what it yields: `impl Future<Output = ()>`",
        )),
    }
}

/// `#[lock(..)]` or `#[locks::lock(..)]`, whatever `locks` is called.
fn is_lock(attr: &Attribute, lock: &Lock) -> bool {
    let path = words(attr.path());
    let krate = lock.krate.as_ref().map_or_else(|| vec!["locks".to_owned()], words);
    match path.split_last() {
        Some((last, [])) => last == "lock",
        Some((last, module)) => last == "lock" && module == krate,
        None => false,
    }
}

fn words(path: &Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}
