use proc_macro2::{Group, Span, TokenStream};
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
///         Ok(__guard) => {
///             let __output = match Some(()) { Some(()) => { body }, None => unreached() };
///             Ok(__output)
///         }
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
            let value = super::instead(lock, value);
            quote_spanned!(span=>
                #private::Err(__error) if #private::contended(&__error) =>
                    #private::instead(#value),
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

fn held(lock: &Lock, asynchronous: bool, body: &Group) -> TokenStream {
    let span = Span::mixed_site();
    let private = lock.private(span);
    let (value, name) = match &lock.guard {
        Some(name) => (quote_spanned!(span=> &__guard), quote!(#name)),
        None => (quote_spanned!(span=> ()), quote!(())),
    };
    let body = in_arm(lock, &value, &name, body);
    let mark = super::function::mark_done(lock, &quote_spanned!(span=> &__output));
    match (&lock.on_lost, asynchronous) {
        (OnLost::Continue, false) if lock.marks_done => quote_spanned!(span=>
            let __output = #body;
            #mark
            #private::Ok(#private::release_and_keep(__guard, __output))
        ),
        (OnLost::Continue, false) => quote_spanned!(span=>
            let __output = #body;
            #private::Ok(__output)
        ),
        (OnLost::Continue, true) => quote_spanned!(span=>
            let __output = #body;
            #mark
            #private::release(__guard).await;
            #private::Ok(__output)
        ),
        (OnLost::Error, true) => quote_spanned!(span=>
            let __output = #body;
            #mark
            #private::release_and_return_value_async(__guard, __output).await
        ),
        (OnLost::Cancel(_), true) => quote_spanned!(span=>
            let __output = #private::cancel_when_lost(&__guard, #private::pin!(async { return #body; })).await;
            match __output {
                #private::Ok(__output) => {
                    #mark
                    #private::release_and_return_value_async(__guard, __output).await
                }
                #private::Err(__error) => #private::Err(__error),
            }
        ),
        (_, false) => quote_spanned!(span=>
            let __output = #body;
            #mark
            #private::release_and_return_value(__guard, __output)
        ),
    }
}
