use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::{Attribute, Error, Result, ReturnType, Type};

use super::body::CANCEL_IS_ASYNC;
use super::returned::future_output;
use super::{Lock, OnLost, Returned};
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
    if let Some(constness) = &sig.constness {
        return Err(Error::new(
            constness.span(),
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
    let target = target(function)?;
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

fn target(function: &Function) -> Result<Target> {
    let sig = &function.sig;
    let returned = Returned::new(&sig.output, sig.ident.span());
    if sig.asyncness.is_some() {
        return Ok(Target::Async(returned));
    }
    let output = match &sig.output {
        ReturnType::Type(_, ty) => future_output(ty),
        ReturnType::Default => None,
    };
    match output {
        Some(output) => returns_future(function, output, &returned),
        None => Ok(Target::Sync(returned)),
    }
}

fn returns_future(function: &Function, output: &Type, returned: &Returned) -> Result<Target> {
    if in_tail(function.body.stream(), &mut |group| group).is_none() {
        return Err(Error::new(
            returned.span(),
            "the lock would be released before this future runs: \
             make the function `async`, or end it in `Box::pin(async move { .. })`",
        ));
    }
    Ok(Target::Future(Returned::of(output)))
}

/// `body` with the asynchronous block that it ends in put through `change`; `None` if it ends
/// otherwise.
///
/// The block becomes an `async move` if it is none: as it is returned, it borrows nothing of the
/// function's own, but what the key names has to go along.
pub(crate) fn in_tail(
    body: TokenStream,
    change: &mut dyn FnMut(Group) -> Group,
) -> Option<TokenStream> {
    let mut tokens = body.into_iter().collect::<Vec<_>>();
    let is = |tokens: &[TokenTree], back: usize, word: &str| {
        let at = tokens.len().checked_sub(back);
        at.is_some_and(|at| matches!(&tokens[at], TokenTree::Ident(ident) if ident == word))
    };
    let TokenTree::Group(last) = tokens.last()?.clone() else { return None };
    let changed = match last.delimiter() {
        Delimiter::Brace if is(&tokens, 2, "async") => {
            let moves = Ident::new("move", Span::mixed_site());
            tokens.insert(tokens.len() - 1, moves.into());
            change(last)
        }
        Delimiter::Brace if is(&tokens, 2, "move") && is(&tokens, 3, "async") => change(last),
        Delimiter::Parenthesis if is(&tokens, 2, "pin") => {
            let inner = without_comma(last.stream());
            let mut group = Group::new(Delimiter::Parenthesis, in_tail(inner, change)?);
            group.set_span(last.span());
            group
        }
        Delimiter::Parenthesis
            if last.stream().is_empty()
                && (is(&tokens, 2, "boxed") || is(&tokens, 2, "boxed_local"))
                && tokens.len() >= 3 =>
        {
            // `async move { .. }.boxed()`
            let method = tokens.split_off(tokens.len() - 3);
            let before = in_tail(tokens.into_iter().collect(), change)?;
            return Some(before.into_iter().chain(method).collect());
        }
        Delimiter::None => {
            let mut group = Group::new(Delimiter::None, in_tail(last.stream(), change)?);
            group.set_span(last.span());
            group
        }
        _ => return None,
    };
    *tokens.last_mut()? = changed.into();
    Some(tokens.into_iter().collect())
}

fn without_comma(tokens: TokenStream) -> TokenStream {
    let mut tokens = tokens.into_iter().collect::<Vec<_>>();
    if matches!(tokens.last(), Some(TokenTree::Punct(punct)) if punct.as_char() == ',') {
        tokens.pop();
    }
    tokens.into_iter().collect()
}

/// `#[lock(..)]` or `#[locks::lock(..)]`
fn is_lock(attr: &Attribute) -> bool {
    let path = attr.path();
    let segments = path.segments.iter().map(|segment| segment.ident.to_string());
    matches!(segments.collect::<Vec<_>>().join("::").as_str(), "lock" | "locks::lock")
}
