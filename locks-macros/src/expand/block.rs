use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{quote, quote_spanned};

use super::acquire::{Asker, Way, acquire, outcome};
use super::in_arm;
use crate::validate::{Lock, OnLost, Otherwise};

/// An expression that runs `body` under the lock, in place: `return`, `break`, `continue` and `?`
/// act on the code around it.
///
/// ```text
/// // Input: "ledger" => { body }
/// // Output:
/// {
///     let __begun = SITE.acquire(..);
///     match __begun {
///         Ok(__guard) => { Ok(match Some(()) { Some(()) => { body }, None => unreached() }) }
///         Err(__error) => Err(__error),
///     }
/// }
/// ```
pub(crate) fn expand(lock: &Lock, asynchronous: bool, body: &Group) -> TokenStream {
    let span = Span::mixed_site();
    let private = lock.private(span);
    let way = if asynchronous { Way::Anonymous } else { Way::Blocking };
    let acquire = acquire(lock, &Asker::Block, &way);
    let outcome = outcome(lock, &way);
    let held = held(lock, asynchronous, body);
    let early = match &lock.otherwise {
        None => quote_spanned!(span=> #private::Err(__error) => #private::Err(__error),),
        Some(Otherwise::Closure(closure)) => quote_spanned!(span=>
            #private::Err(__error) =>
                #private::instead(#private::otherwise(#closure, __error)),
        ),
        Some(Otherwise::Value(value)) => {
            let shown = super::at(value);
            let at = lock.private(shown);
            let value = super::instead(lock, value);
            let value = quote_spanned!(shown=> #at::instead(#value));
            quote_spanned!(span=>
                #private::Err(__error) if #private::contended(&__error) => #value,
                #private::Err(__error) => #private::Err(__error),
            )
        }
    };
    quote_spanned!(span=> {
        let __begun = #acquire;
        match #outcome {
            #private::Ok(__guard) => { #held }
            #early
        }
    })
}

/// The body's value is passed on as an argument, not by a variable: so it is told of the type that
/// the code around expects.
fn held(lock: &Lock, asynchronous: bool, body: &Group) -> TokenStream {
    let span = Span::mixed_site();
    let private = lock.private(span);
    let (value, name) = match &lock.guard {
        Some(name) => (quote_spanned!(span=> &__guard), quote!(#name)),
        None => (quote_spanned!(span=> ()), quote!(())),
    };
    let value = in_arm(lock, &value, &name, body);
    if let OnLost::Cancel(_) = lock.on_lost {
        let mark = lock.marks_done.then(|| {
            let mark = mark(lock, body);
            quote_spanned!(span=> let __output = #private::noted(__output, |__output| { #mark });)
        });
        return quote_spanned!(span=>
            let __output = #private::cancel_when_lost(&__guard, #private::pin!(async { return #value; })).await;
            match __output {
                #private::Ok(__output) => {
                    #mark
                    #private::release_and_return_value_async(__guard, __output).await
                }
                #private::Err(__error) => #private::Err(__error),
            }
        );
    }
    let value = if lock.marks_done {
        let mark = mark(lock, body);
        quote_spanned!(span=> #private::noted(#value, |__output| { #mark }))
    } else {
        value
    };
    let released = match (&lock.on_lost, asynchronous) {
        (OnLost::Continue, false) if !lock.marks_done => {
            return quote_spanned!(span=> #private::Ok(#value));
        }
        (OnLost::Continue, false) => {
            quote_spanned!(span=> #private::Ok(#private::release_and_keep(__guard, ())))
        }
        (OnLost::Continue, true) => {
            quote_spanned!(span=> #private::Ok(#private::release(__guard).await))
        }
        (_, false) => quote_spanned!(span=> #private::release_and_return_value(__guard, ())),
        (_, true) => {
            quote_spanned!(span=> #private::release_and_return_value_async(__guard, ()).await)
        }
    };
    quote_spanned!(span=> #private::unless_lost(#value, #released))
}

/// Marks what was done as done. Of a body that comes to nothing but `()` the compiler is not asked
/// what it comes to: it may leave, and have no type.
fn mark(lock: &Lock, body: &Group) -> TokenStream {
    let span = Span::mixed_site();
    if comes_to_nothing(body.stream()) {
        let private = lock.private(span);
        return quote_spanned!(span=> #private::mark_done(&__guard); let _ = __output;);
    }
    super::function::mark_done(lock, &quote_spanned!(span=> __output))
}

/// Whether `body` has no expression at its end, or one that leaves.
fn comes_to_nothing(body: TokenStream) -> bool {
    let tokens = body.into_iter().collect::<Vec<_>>();
    let is_end =
        |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';');
    let begin = tokens.iter().rposition(is_end).map_or(0, |at| at + 1);
    let last = &tokens[begin..];
    match last.first() {
        None => true,
        Some(TokenTree::Ident(word)) => {
            let leaves = ["return", "break", "continue"].iter().any(|it| word == it);
            let panics =
                ["panic", "todo", "unimplemented", "unreachable"].iter().any(|it| word == it);
            leaves
                || panics && last.len() == 3
                || word == "loop" && !has_break(last.iter().cloned().collect())
        }
        Some(_) => false,
    }
}

fn has_break(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(word) => word == "break",
        TokenTree::Group(group) => has_break(group.stream()),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c14_knows_a_body_without_a_value() {
        for (body, nothing) in [
            ("", true),
            ("f();", true),
            ("f(); return 5", true),
            ("continue", true),
            ("break 'a None", true),
            ("panic!(\"no\")", true),
            ("panic!(\"no\") + 5", false),
            ("loop { f(); }", true),
            ("loop { if a { break Some(1) } }", false),
            ("f()", false),
            ("f(); None", false),
            ("if a { return; }", false),
        ] {
            assert_eq!(comes_to_nothing(body.parse().unwrap()), nothing, "{body}");
        }
    }
}
