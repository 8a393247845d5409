//! Tokens into what they are, without asking whether that makes sense.

mod args;
mod block;
mod expression;
mod function;
mod hole;
mod signature;
mod spec;
mod template;

pub(crate) use args::{Args, Key, Setting, Value};
pub(crate) use block::Block;
pub(crate) use expression::{Expression, is_keyword};
pub(crate) use function::Function;
pub(crate) use signature::{Signature, until};
pub(crate) use template::{Piece, Template};

use proc_macro2::{Delimiter, Group, TokenTree};
use syn::parse::ParseStream;

/// Braces, where some begin. A `$body:block` of `macro_rules!` comes wrapped in a group without
/// delimiters.
fn braces(input: ParseStream<'_>) -> syn::Result<Group> {
    let mut token = input.parse()?;
    loop {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return Ok(group),
            TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
                token = syn::parse2(group.stream())?;
            }
            other => return Err(syn::Error::new(other.span(), "expected `{`")),
        }
    }
}
