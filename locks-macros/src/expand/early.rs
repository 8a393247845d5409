//! What a function returns when its lock was not acquired (A2, A3).

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;

use crate::validate::{Known, Lock, OnLost, Otherwise, Returned};

/// The arms for the failed acquisition.
///
/// ```text
/// // Input: wait = false, -> Option<u8>
/// // Output:
/// Err(__error) => return bail(__error),
/// ```
pub(super) fn arms(lock: &Lock, returned: &Returned, probe_future: bool) -> TokenStream {
    let span = Span::mixed_site();
    let private = lock.private(span);
    // What never comes back cannot be returned: the `return` would be unreachable.
    let leave = match returned {
        Returned::Never(_) => None,
        _ => Some(quote_spanned!(span=> return)),
    };
    match &lock.otherwise {
        Some(Otherwise::Closure(closure)) => {
            let probe = match returned {
                Returned::Named(ty) if probe_future => probe(lock, ty),
                _ => TokenStream::new(),
            };
            quote_spanned!(span=>
                #private::Err(__error) => {
                    #probe
                    #leave #private::otherwise(#closure, __error)
                }
            )
        }
        Some(Otherwise::Value(value)) => {
            let fault = match returned {
                Returned::Named(ty) | Returned::Partly(ty, Known::ByName) => {
                    let fault = asked(
                        lock,
                        ty,
                        "__locks_fault",
                        probe_future && matches!(returned, Returned::Named(_)),
                    );
                    quote_spanned!(span=> return #fault)
                }
                _ => quote_spanned!(span=> #private::fault(__error)),
            };
            let value = super::instead(lock, value);
            quote_spanned!(span=>
                #private::Err(__error) if #private::contended(&__error) => #leave #value,
                #private::Err(__error) => #fault,
            )
        }
        None => {
            let failure = failure(lock, returned, probe_future);
            let leave = match returned {
                // What panics leaves by itself.
                Returned::Partly(_, Known::Nothing) | Returned::Opaque(_) => None,
                _ => leave,
            };
            quote_spanned!(span=> #private::Err(__error) => #leave #failure,)
        }
    }
}

/// The value that is made of `__outcome`. What the name of the type tells need not be found out,
/// and takes the compiler no closure.
pub(super) fn ended(lock: &Lock, returned: &Returned, probe_future: bool) -> TokenStream {
    let span = returned.span().resolved_at(Span::mixed_site());
    let private = lock.private(span);
    let known = match returned {
        Returned::Named(_) if lock.may_be_contended && returned.may_be_a_parameter() => {
            Known::ByName
        }
        _ if lock.may_be_contended => Known::EarlyReturn,
        Returned::Named(_) if probe_future => Known::ByName,
        Returned::Named(ty) => Known::of(ty),
        Returned::Partly(_, known) => *known,
        Returned::Opaque(_) | Returned::Never(_) => Known::Nothing,
    };
    match known {
        Known::EarlyReturn => quote_spanned!(span=> #private::or_bail(__outcome)),
        Known::Nothing => quote_spanned!(span=> #private::or_fault(__outcome)),
        Known::ByName => {
            let failure = failure(lock, returned, probe_future);
            quote_spanned!(span=> #private::or_told(__outcome, |__error| #failure))
        }
    }
}

/// The value that is made of `__error` where the lock was not acquired, or the panic.
pub(super) fn failure(lock: &Lock, returned: &Returned, probe_future: bool) -> TokenStream {
    // Errors of type are about the return type, so they are shown there.
    let span = returned.span().resolved_at(Span::mixed_site());
    let private = lock.private(span);
    let bail = match returned.may_be_a_parameter() {
        true => quote_spanned!(span=> #private::bail_for(#private::unnameable, __error)),
        false => quote_spanned!(span=> #private::bail(__error)),
    };
    match returned {
        // What can tell of a loss can tell of this as well; and what cannot is told of once.
        Returned::Named(_) | Returned::Partly(..) if !matches!(lock.on_lost, OnLost::Continue) => {
            let or_lost = super::function::or_lost(lock, returned);
            let probe = match returned {
                Returned::Named(ty) if probe_future => probe(lock, ty),
                _ => TokenStream::new(),
            };
            quote_spanned!(span=> { #probe (#or_lost)(#private::None, __error) })
        }
        _ if lock.may_be_contended => bail,
        Returned::Named(ty) => asked(lock, ty, "__locks_early", probe_future),
        Returned::Partly(_, Known::EarlyReturn) => bail,
        Returned::Partly(ty, Known::ByName) => asked(lock, ty, "__locks_early", false),
        Returned::Partly(_, Known::Nothing) | Returned::Opaque(_) | Returned::Never(_) => {
            quote_spanned!(span=> #private::fault(__error))
        }
    }
}

/// Asks the type what it can say: see `Returns` in the facade.
fn asked(lock: &Lock, ty: &syn::Type, method: &str, probe_future: bool) -> TokenStream {
    let span = super::at(ty);
    let private = lock.private(span);
    let method = Ident::new(method, span);
    let probe = probe_future.then(|| probe(lock, ty));
    let returns = returns(lock, ty);
    quote_spanned!(span=> {
        #probe
        use #private::{AnyReturn as _, PlainResult as _};
        #returns
        __returns.#method(__error)
    })
}

/// Refuses a future that would run after the function's end.
fn probe(lock: &Lock, ty: &syn::Type) -> TokenStream {
    let span = super::at(ty);
    let private = lock.private(span);
    let returns = returns(lock, ty);
    quote_spanned!(span=> {
        use #private::AnyReturn as _;
        #returns
        __returns.__locks_runs_in_time(#private::unnameable);
        __returns.__locks_value_runs_in_time(#private::unnameable);
    })
}

/// The type to be asked, as `__returns`. It is never a generic argument: of those the compiler
/// tells in other words than of a return type, and so it would tell twice of a name that is not
/// there.
fn returns(lock: &Lock, ty: &syn::Type) -> TokenStream {
    let span = super::at(ty);
    let private = lock.private(span);
    quote_spanned!(span=>
        let __returns = #private::Returns::new();
        if false {
            let __output: #ty = #private::unreached();
            __returns.__locks_is(__output);
        }
    )
}
