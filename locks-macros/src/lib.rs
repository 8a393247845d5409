//! The attribute `#[lock]` and the block macro `lock!` of [`locks`](https://docs.rs/locks), which
//! exports and documents them.
//!
//! Each goes through the same steps: `parse` reads the tokens, `validate` makes sense of them
//! or says what is wrong, `expand` writes the code. Where something is wrong, `fallback` emits
//! the untouched item beside the error, so that one mistake gives one message.
#![forbid(unsafe_code)]

mod expand;
mod fallback;
mod parse;
mod renamed;
#[cfg(test)]
mod soup;
mod validate;

use proc_macro2::TokenStream;
use syn::parse::Parser as _;

/// Holds a lock while the function runs; documented at `locks::lock`.
#[proc_macro_attribute]
pub fn lock(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    attribute(args.into(), item.into()).into()
}

/// Holds a lock while a block runs; documented at `locks::block::lock`.
#[proc_macro]
pub fn lock_block(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    block(input.into()).into()
}

fn attribute(args: TokenStream, item: TokenStream) -> TokenStream {
    let expand = |args, item| {
        let args = parse::Args::parse_all.parse2(args)?;
        let function = syn::parse2::<parse::Function>(item)?;
        let mut lock = validate::lock(args)?;
        let target = validate::function(&function, &mut lock)?;
        Ok(expand::function(&lock, function, &target))
    };
    expand(args.clone(), item.clone())
        .unwrap_or_else(|error| fallback::function(&error, args, item))
}

fn block(input: TokenStream) -> TokenStream {
    let expand = |input| {
        let block = syn::parse2::<parse::Block>(input)?;
        let lock = validate::lock(block.args)?;
        validate::body(&lock, block.asyncness.is_some(), &block.body)?;
        Ok(expand::block(&lock, block.asyncness.is_some(), &block.body))
    };
    expand(input.clone()).unwrap_or_else(|error| fallback::block(&error, input))
}
