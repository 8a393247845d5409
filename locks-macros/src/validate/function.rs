use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Attribute, Error, Path, Result, ReturnType, Type, parse_quote_spanned};

use super::body::CANCEL_IS_ASYNC;
use super::returned::{future_output, is_impossible, lazy, may_be_future};
use super::{Lock, OnLost, Returned, tail};
use crate::parse::Function;

/// What runs under the lock.
pub(crate) enum Target {
    /// The body of a function that blocks.
    Sync(Returned),
    /// One that somebody is still writing at, of a function that returns a future.
    Unfinished(Returned),
    /// The body of an `async fn`.
    Async(Returned),
    /// The asynchronous block that the body ends in, as `async-trait` leaves it.
    Future(Returned),
}

/// Refuses what cannot run under a lock, and finds out how the rest does.
pub(crate) fn check(function: &Function, lock: &mut Lock) -> Result<Target> {
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
             as in `#[lock(\"a\", \"b\")]`, so that they are taken in one order, \
             or lock the one with other options around the body, by `lock!`",
        ));
    }
    lock.variables = Some(parameters(sig.inputs.stream()));
    if let ReturnType::Type(_, ty) = &sig.output
        && is_impossible(ty)
    {
        // The compiler says so; nothing is left to be said of what the lock makes of it.
        (lock.may_be_contended, lock.otherwise) = (false, None);
        if matches!(lock.on_lost, OnLost::Error) {
            lock.on_lost = OnLost::Continue;
        }
    }
    let target = target(function, lock)?;
    let (returned, asynchronous) = match &target {
        Target::Sync(returned) | Target::Unfinished(returned) => (returned, false),
        Target::Async(returned) | Target::Future(returned) => (returned, true),
    };
    if let OnLost::Cancel(span) = lock.on_lost
        && !asynchronous
    {
        return Err(Error::new(span, CANCEL_IS_ASYNC));
    }
    // Of what never comes back nothing is marked, so that its body stays where it is.
    let marks_done = lock.marks_done && !matches!(returned, Returned::Never(_));
    if !asynchronous {
        match lock.on_lost {
            OnLost::Error => tracks_caller(&function.attrs, "on_lost = \"error\"")?,
            _ if marks_done => tracks_caller(&function.attrs, "once_per")?,
            _ => {}
        }
    }
    // Of the others the compiler knows more.
    let cannot_tell = matches!(returned, Returned::Opaque(_) | Returned::Never(_))
        || returned.is_one_of(&sig.type_params);
    if cannot_tell && !matches!(lock.on_lost, OnLost::Continue) {
        return Err(Error::new(
            returned.span(),
            "`on_lost` replaces the value by an error: \
             return a `Result` whose error is `From<locks::LockError>`",
        ));
    }
    if cannot_tell && lock.may_be_contended && lock.otherwise.is_none() {
        return Err(Error::new(returned.span(), WAYS_OUT));
    }
    Ok(target)
}

/// The words of the parameters; more than their names, which does no harm.
fn parameters(inputs: TokenStream) -> Vec<String> {
    let mut names = Vec::new();
    for token in inputs {
        match token {
            TokenTree::Ident(word) if word != "mut" && word != "ref" => {
                names.push(word.unraw().to_string())
            }
            TokenTree::Group(group) => names.extend(parameters(group.stream())),
            _ => {}
        }
    }
    names
}

/// Refuses `#[track_caller]` on a function whose body has to be a closure, which has a caller of
/// its own.
fn tracks_caller(attrs: &[Attribute], option: &str) -> Result<()> {
    let tracks = attrs.iter().find(|attr| {
        let inside = attr.path().is_ident("cfg_attr")
            && words_of(attr.meta.to_token_stream(), "track_caller");
        inside || attr.path().is_ident("track_caller")
    });
    match tracks {
        None => Ok(()),
        Some(attr) => Err(Error::new(
            attr.path().span(),
            format!(
                "with `{option}` the body runs in a closure, whose caller would be this function \
                 itself: put the body into a `#[track_caller]` function of its own that this one calls, \
                 or drop one of the two"
            ),
        )),
    }
}

fn words_of(tokens: TokenStream, wanted: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(word) => word == wanted,
        TokenTree::Group(group) => words_of(group.stream(), wanted),
        _ => false,
    })
}

const WAYS_OUT: &str = "this return type cannot say that the lock was not acquired; \
     four ways out: return `()`; return an `Option`, which will be `None`; return a `Result` \
     whose error is `From<locks::LockError>`; or say what to return with `otherwise = value` or \
     `otherwise = |error| value`";

fn target(function: &Function, lock: &mut Lock) -> Result<Target> {
    let sig = &function.sig;
    let returned = Returned::new(&sig.output, sig.ident.span());
    let ReturnType::Type(_, ty) = &sig.output else {
        return Ok(if sig.is_async { Target::Async(returned) } else { Target::Sync(returned) });
    };
    if sig.is_async {
        return runs_in_time(ty).map(|()| Target::Async(returned));
    }
    let output = future_output(ty);
    if output.is_none() {
        runs_in_time(ty)?;
    }
    if output.is_none() && !may_be_future(ty) {
        return Ok(Target::Sync(returned));
    }
    let asynchronous = tail::in_tail(function.body.stream(), &mut |group| group).is_some();
    match (asynchronous, output) {
        (false, None) => Ok(Target::Sync(returned)),
        // There the compiler's own message is the one that matters.
        (false, Some(_)) if tail::is_unfinished(function.body.stream()) => {
            Ok(Target::Unfinished(returned))
        }
        (false, Some(_)) => Err(Error::new(
            returned.span(),
            "the lock would be released before this future runs: \
             make the function `async`, or end it in `Box::pin(async move { .. })`",
        )),
        (true, output) => {
            output.flatten().map_or(Ok(()), runs_in_time)?;
            alone(function, lock)?;
            let target = output_of(output.flatten(), returned, lock).map(Target::Future)?;
            // What stands before the block at the end may make variables that the key names.
            let names = lock.names();
            lock.variables.get_or_insert_default().extend(names);
            Ok(target)
        }
    }
}

/// Refuses a type that contains what would run without the lock.
fn runs_in_time(ty: &Type) -> Result<()> {
    match lazy(ty) {
        None => Ok(()),
        Some((what, span)) => Err(Error::new(
            span,
            format!(
                "the lock would be released before this {what} runs: hold it where the {what} is awaited, \
                 by `#[lock]` on an `async fn` or by `lock!(async \"key\" => {{ .. }})`, and return what comes of it"
            ),
        )),
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
        let instead = if name == "self" {
            "make the function `async`, or let nothing stand before the block at its end".to_owned()
        } else {
            format!("take the `mut` into the block at the end, as in `let mut {name} = {name};`")
        };
        return Err(Error::new(
            name.span(),
            format!(
                "the key is made up when the future runs, and `{name}` may be another by then: {instead}"
            ),
        ));
    }
    // A variable of the function's own by which no parameter goes is what the key means.
    let mut names = lock.names();
    names.retain(|name| lock.variables.iter().flatten().any(|variable| variable == name));
    match tail::shadowed(body, &names) {
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
