//! What is emitted in place of an expansion when something is wrong.

use proc_macro2::TokenStream;
use quote::quote;

/// The function as it was, so that its callers do not fail as well, and the error.
pub(crate) fn function(error: &syn::Error, item: TokenStream) -> TokenStream {
    let error = error.to_compile_error();
    quote!(#item #error)
}

/// The error alone, as an expression that fits everywhere.
pub(crate) fn block(error: &syn::Error) -> TokenStream {
    let mut errors = error.clone().into_iter().map(|error| error.to_compile_error());
    let first = errors.next();
    quote!({ #(#errors;)* (#first) })
}
