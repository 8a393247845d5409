//! What has been validated, as code. Everything generated is spanned at mixed site, so that its
//! names are invisible to the user's code and lints leave it alone.

mod acquire;
mod block;
mod early;
mod function;
mod parameters;

pub(crate) use block::expand as block;
pub(crate) use function::expand as function;

use proc_macro2::{Group, Span, TokenStream};
use quote::{ToTokens, quote_spanned};

use crate::validate::Lock;

/// `tokens`' span for what is shown, with the hygiene of generated code.
fn at(tokens: &impl ToTokens) -> Span {
    use syn::spanned::Spanned as _;
    tokens.span().resolved_at(Span::mixed_site())
}

/// The user's braces as a match arm: there, unlike behind `=` or at the end of a block, they are
/// not taken for superfluous, and their temporaries end with them (trap 14).
fn in_arm(body: &Group) -> TokenStream {
    let span = Span::mixed_site();
    quote_spanned!(span=> match () { () => #body })
}

/// The value of `otherwise`, which may be none: behind a `return` or a `panic!` what follows would
/// be unreachable, and the compiler would say so to the user.
fn instead(lock: &Lock, value: &syn::Expr) -> TokenStream {
    let span = Span::mixed_site();
    let private = lock.private(span);
    quote_spanned!(span=>
        match #private::Some(()) {
            #private::Some(()) => #value,
            #private::None => #private::unreached(),
        }
    )
}
