use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::Parser as _;

use super::acquire::{Asker, Way, acquire, outcome};
use super::parameters::in_order;
use super::{early, in_arm};
use crate::parse::Function;
use crate::validate::{Lock, OnLost, Returned, Target, in_tail};

/// The function, with its body under the lock.
pub(crate) fn expand(lock: &Lock, mut function: Function, target: &Target) -> TokenStream {
    hoist_inner_attributes(&mut function);
    let name = function.sig.ident.unraw().to_string();
    let asker = Asker::Function(&name);
    let body = match target {
        Target::Sync(returned) => blocking(lock, &asker, returned, true, &function),
        Target::Unfinished(returned) => blocking(lock, &asker, returned, false, &function),
        Target::Async(returned) => {
            let order = in_order(&function.sig, function.body.stream(), lock.guard.as_ref());
            asynchronous(lock, &asker, returned, &order, &function.body)
        }
        Target::Future(output) => {
            let mut change = |group: Group| {
                let under = asynchronous(lock, &asker, output, &[], &group);
                let mut braces = Group::new(Delimiter::Brace, under);
                braces.set_span(group.span());
                braces
            };
            in_tail(function.body.stream(), &mut change)
                .expect("a body whose tail was found has that tail")
        }
    };
    function.with_body(body)
}

/// ```text
/// // Input: { body }
/// // Output:
/// let __acquired = SITE.acquire(..);
/// match __acquired {
///     Ok(__guard) => { body },
///     Err(__error) => return bail(__error),
/// }
/// ```
/// The `let` ends the key's temporaries, so that the body may move what the key names.
fn blocking(
    lock: &Lock,
    asker: &Asker<'_>,
    returned: &Returned,
    probe_future: bool,
    function: &Function,
) -> TokenStream {
    let body = &function.body;
    let span = Span::mixed_site();
    let private = lock.private(span);
    let acquire = acquire(lock, asker, &Way::Blocking);
    let early = early::arms(lock, returned, probe_future && !returned.has_begun());
    let marks_done = lock.marks_done && !matches!(returned, Returned::Never(_));
    let held = match (&lock.on_lost, &lock.guard) {
        (OnLost::Continue, None) if !marks_done => in_place(returned, body),
        (OnLost::Continue, Some(name)) if !marks_done => {
            let body = in_place(returned, body);
            quote_spanned!(span=> match &__guard { #name => #body })
        }
        (on_lost, name) => {
            let name = name.as_ref().map_or_else(|| quote!(_), |name| quote!(#name));
            // An `impl Trait` has no name here: the closure's type is what the body says.
            let annotation = returned.annotation().map(|ty| quote_spanned!(span=> -> #ty));
            let mark = mark_done(lock, &quote_spanned!(span=> &__output));
            let end = match on_lost {
                OnLost::Continue => {
                    quote_spanned!(span=> return #private::release_and_keep(__guard, __output);)
                }
                _ => {
                    let or_lost = or_lost(lock, returned);
                    quote_spanned!(span=>
                        return #private::release_and_return(__guard, __output, #or_lost);
                    )
                }
            };
            let order =
                edge(lock, returned, &in_order(&function.sig, body.stream(), lock.guard.as_ref()));
            quote_spanned!(span=> {
                let __held = &__guard;
                let __output = #private::run_once(move || #annotation {
                    #order
                    match __held { #name => #body }
                });
                #mark
                #end
            })
        }
    };
    // What is wrong with its value is shown where the body is.
    let shown = body.span().resolved_at(span);
    let arms = quote_spanned!(shown=>
        match __acquired {
            #private::Ok(__guard) => #held,
            #early
        }
    );
    quote_spanned!(span=>
        let __acquired = #acquire;
        #arms
    )
}

/// The body as the value of the function. The closure that is an `impl Fn(&str)` is told of that
/// behind a `return`, as at a function's end, and not in an arm. The label keeps the braces from
/// being taken for superfluous.
fn in_place(returned: &Returned, body: &Group) -> TokenStream {
    match returned {
        Returned::Opaque(_) if ends_in_closure(body.stream()) => {
            quote_spanned!(Span::mixed_site()=> return '_body: #body)
        }
        _ => body.to_token_stream(),
    }
}

/// Whether the last expression of `body` begins as a closure does.
fn ends_in_closure(body: TokenStream) -> bool {
    let (mut begins, mut ends) = (true, false);
    for token in body {
        let opens = match &token {
            TokenTree::Punct(punct) => punct.as_char() == '|',
            TokenTree::Ident(word) => word == "move",
            _ => false,
        };
        ends = begins && opens || !begins && ends;
        begins = match &token {
            TokenTree::Punct(punct) => punct.as_char() == ';',
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace && !ends,
            _ => false,
        };
    }
    ends
}

/// ```text
/// // Input: { body }
/// // Output:
/// let __asked = SITE.ask(..);
/// let __body = body(async move { edge; return if true { body } else { unreached() }; });
/// if let Body::Nothing = __body {
///     unreached()
/// }
/// let __outcome = locked(__asked, __body).await;
/// return or_bail(__outcome);
/// ```
/// Where the guard is seen, or the arguments are needed again, acquisition and release are steps of
/// their own.
fn asynchronous(
    lock: &Lock,
    asker: &Asker<'_>,
    returned: &Returned,
    order: &[(String, TokenStream)],
    body: &Group,
) -> TokenStream {
    let span = Span::mixed_site();
    let private = lock.private(span);
    let acquire = acquire(lock, asker, &Way::Scoped);
    // Only where the name tells nothing: the compiler takes its time for each probe.
    let probe_future = returned.may_be_future();
    let edge = edge(lock, returned, order);
    let body = match &lock.guard {
        // As `in_arm`, for less of the compiler's time.
        None => quote_spanned!(span=> if true #body else { #private::unreached() }),
        Some(name) => in_arm(lock, &quote_spanned!(span=> __held), &name.to_token_stream(), body),
    };
    // With a value at its end, a block that yields a future would look as if an `.await` was
    // missing.
    let body = match returned {
        Returned::Never(_) => body,
        _ => quote_spanned!(span=> return #body;),
    };
    let run = quote_spanned!(span=> async move { #edge #body });
    let in_one = matches!(lock.on_lost, OnLost::Continue)
        && lock.guard.is_none()
        && !lock.marks_done
        && lock.otherwise.is_none()
        && !matches!(returned, Returned::Never(_));
    if in_one {
        let ended = early::ended(lock, returned, probe_future);
        return quote_spanned!(span=>
            let __asked = #acquire;
            let __body = #private::body(#run);
            if let #private::Body::Nothing = __body {
                #private::unreached()
            }
            let __outcome = #private::locked(__asked, __body).await;
            return #ended;
        );
    }
    let early = early::arms(lock, returned, probe_future);
    let run = quote_spanned!(span=> #private::Scoped::new(__scope, #run));
    let held = lock.guard.as_ref().map(|_| quote_spanned!(span=> let __held = &__guard;));
    let outcome = outcome(lock, &Way::Scoped);
    let mark = mark_done(lock, &quote_spanned!(span=> &__output));
    let finish = match (&lock.on_lost, returned) {
        (_, Returned::Never(_)) => quote_spanned!(span=> #private::never(#run).await),
        (OnLost::Continue, _) => quote_spanned!(span=>
            let __output = #run.await;
            #mark
            #private::release(__guard).await;
            return __output;
        ),
        (OnLost::Error, _) => {
            let or_lost = or_lost(lock, returned);
            quote_spanned!(span=>
                let __output = #run.await;
                #mark
                return #private::release_and_return_async(__guard, __output, #or_lost).await;
            )
        }
        (OnLost::Cancel(_), _) => {
            let mark = mark_done(lock, &quote_spanned!(span=> __output));
            let mark_kept = lock.marks_done.then(
                || quote_spanned!(span=> if let #private::Ok(__output) = &__output { #mark }),
            );
            let or_lost = or_lost(lock, returned);
            quote_spanned!(span=>
                let __output = #private::cancel_when_lost(&__guard, #private::pin!(#run)).await;
                #mark_kept
                return #private::release_and_return_unless_lost(__guard, __output, #or_lost).await;
            )
        }
    };
    quote_spanned!(span=>
        let #private::Asked { scope: __scope, begun: __begun } = #acquire;
        match #outcome {
            #private::Ok(__guard) => { #held #finish }
            #early
        }
    )
}

/// Marks what was done under the lock as done, if the value behind this reference is that of a
/// success (C14).
pub(super) fn mark_done(lock: &Lock, output: &TokenStream) -> TokenStream {
    if !lock.marks_done {
        return TokenStream::new();
    }
    let span = Span::mixed_site();
    let private = lock.private(span);
    quote_spanned!(span=>
        if { use #private::AnyOutcome as _; #private::Outcome(#output).__locks_is_done() } {
            #private::mark_done(&__guard);
        }
    )
}

/// What makes a loss of a value, spanned where a type that cannot tell of one is to be shown. It is
/// named by itself, so that this is told of once. As in `edge`, the type is no generic argument.
///
/// ```text
/// // Output:
/// { let __or_lost = or_lost; if false { let __output: R = unreached(); __or_lost(Some(__output), unreached()); } __or_lost }
/// ```
pub(super) fn or_lost(lock: &Lock, returned: &Returned) -> TokenStream {
    let span = returned.span().resolved_at(Span::mixed_site());
    let private = lock.private(span);
    let or_lost = match returned.may_be_a_parameter() {
        true => quote_spanned!(span=> #private::or_lost_for(#private::unnameable)),
        false => quote_spanned!(span=> #private::or_lost),
    };
    let Some(ty) = returned.annotation() else { return or_lost };
    quote_spanned!(span=> {
        let __or_lost = #or_lost;
        if false {
            let __output: #ty = #private::unreached();
            let _ = __or_lost(#private::Some(__output), #private::unreached());
        }
        __or_lost
    })
}

/// Tells the block around the body what the function returns, so that coercions such as
/// `Ok(Box::new(|| ()))` go on working, and names the parameters in the `order` in which it is to
/// take them along. Neither is ever reached, and the mentions are not even for the compiler, to
/// which they would be uses of what the user does not use.
fn edge(lock: &Lock, returned: &Returned, order: &[(String, TokenStream)]) -> TokenStream {
    let span = Span::mixed_site();
    let private = lock.private(span);
    let leave = returned.annotation().map(|ty| {
        let span = super::at(ty);
        let private = lock.private(span);
        // Not as a generic argument, of which the compiler tells in other words than of a return
        // type: so a name that is not there is told of once.
        quote_spanned!(span=> let __output: #ty = #private::unreached(); return __output;)
    });
    // Those that the key or an option names are used by that, whatever the body does with the word:
    // else they would be called captured and never read.
    let names = lock.named();
    let used = order.iter().filter(|(name, _)| names.iter().any(|it| name == it));
    let used = used.map(|(_, mention)| mention).collect::<Vec<_>>();
    let used = (!used.is_empty()).then(|| quote_spanned!(span=> if false { #(#used)* }));
    let order = order.iter().map(|(_, mention)| mention).collect::<Vec<_>>();
    let order =
        (!order.is_empty()).then(|| quote_spanned!(span=> let _ = #private::gone(); #(#order)*));
    if leave.is_none() && order.is_none() {
        return TokenStream::new();
    }
    quote_spanned!(span=> if false { #order #leave } #used)
}

/// `#![…]` at the top of the body applies to the function, and could not stand in an arm.
fn hoist_inner_attributes(function: &mut Function) {
    let begins = function.body.stream().into_iter().take(2).map(|token| token.to_string());
    if begins.collect::<String>() != "#!" {
        return;
    }
    let split = |input: syn::parse::ParseStream<'_>| {
        let attrs = input.call(syn::Attribute::parse_inner)?;
        Ok((attrs, input.parse::<TokenStream>()?))
    };
    let Ok((attrs, rest)) = split.parse2(function.body.stream()) else { return };
    function.attrs.extend(attrs.into_iter().map(|mut attr| {
        attr.style = syn::AttrStyle::Outer;
        attr
    }));
    let mut body = Group::new(Delimiter::Brace, rest);
    body.set_span(function.body.span());
    function.body = body;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_body_that_ends_in_a_closure() {
        for (body, ends) in [
            ("|x| x.len()", true),
            ("move |x| { x.len() }", true),
            ("f(); || 5", true),
            ("if a { return |x| x; } |x| { x }", true),
            ("", false),
            ("f(); let x = |x| x;", false),
            ("a || b", false),
            ("f(|x| x)", false),
            ("{ |x| x }", false),
            ("let f = |x| { x }; f", false),
            ("|x| x; f()", false),
            ("match a { A => 1 }", false),
        ] {
            assert_eq!(ends_in_closure(body.parse().unwrap()), ends, "{body}");
        }
    }
}
