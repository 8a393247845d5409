//! What has been validated, as code. Everything generated is spanned at mixed site, so that its
//! names are invisible to the user's code and lints leave it alone.

mod acquire;
mod block;
mod early;
mod function;
mod parameters;

pub(crate) use block::expand as block;
pub(crate) use function::expand as function;
pub(crate) use parameters::uses;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote_spanned};

use crate::parse::Expression;
use crate::validate::Lock;

/// `tokens`' span for what is shown, with the hygiene of generated code.
fn at(tokens: &impl ToTokens) -> Span {
    use syn::spanned::Spanned as _;
    tokens.span().resolved_at(Span::mixed_site())
}

/// The user's code as a match arm that is always taken, with `value` bound to `name`.
///
/// In an arm, unlike behind `=` or at the end of a block, braces are not taken for superfluous, and
/// their temporaries end with them (trap 14). The other arm is never taken. Without it, code that
/// ends in `return` or `panic!` would make what follows unreachable, and the compiler would say so
/// to the user.
fn in_arm(
    lock: &Lock,
    value: &TokenStream,
    name: &TokenStream,
    code: &impl ToTokens,
) -> TokenStream {
    arm_at(Span::mixed_site(), lock, value, name, code)
}

fn arm_at(
    span: Span,
    lock: &Lock,
    value: &TokenStream,
    name: &TokenStream,
    code: &impl ToTokens,
) -> TokenStream {
    let private = lock.private(span);
    quote_spanned!(span=>
        match #private::Some(#value) {
            #private::Some(#name) => #code,
            #private::None => #private::unreached(),
        }
    )
}

/// The value of `otherwise`, if it is one that comes back.
fn instead(lock: &Lock, value: &Expression) -> TokenStream {
    let unit = quote_spanned!(Span::mixed_site()=> ());
    arm_at(at(value), lock, &unit, &unit, value)
}
