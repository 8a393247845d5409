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
mod validate;

use proc_macro::TokenStream;

/// Holds a lock while the function runs; documented at `locks::lock`.
#[proc_macro_attribute]
pub fn lock(args: TokenStream, item: TokenStream) -> TokenStream {
    let (args, item) = (proc_macro2::TokenStream::from(args), item.into());
    attribute(args.clone(), &item)
        .unwrap_or_else(|error| fallback::function(&error, args, item))
        .into()
}

/// Holds a lock while a block runs; documented at `locks::block::lock`.
#[proc_macro]
pub fn lock_block(input: TokenStream) -> TokenStream {
    let input = proc_macro2::TokenStream::from(input);
    block(input.clone()).unwrap_or_else(|error| fallback::block(&error, input)).into()
}

fn attribute(
    args: proc_macro2::TokenStream,
    item: &proc_macro2::TokenStream,
) -> syn::Result<proc_macro2::TokenStream> {
    let args = syn::parse2::<parse::Args>(args)?;
    let function = syn::parse2::<parse::Function>(item.clone())?;
    let lock = validate::lock(args)?;
    let target = validate::function(&function, &lock)?;
    Ok(expand::function(&lock, function, &target))
}

fn block(input: proc_macro2::TokenStream) -> syn::Result<proc_macro2::TokenStream> {
    let block = syn::parse2::<parse::Block>(input)?;
    let lock = validate::lock(block.args)?;
    validate::body(&lock, block.asyncness.is_some(), &block.body)?;
    Ok(expand::block(&lock, block.asyncness.is_some(), &block.body))
}
