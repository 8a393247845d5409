use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, LitStr, Result, Token, Visibility, token};

use super::{Signature, braces};

/// A function whose body has been kept as it was written.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) default: Option<Token![default]>,
    pub(crate) sig: Signature,
    pub(crate) body: Group,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let default = default(input)?;
        if !begins_function(input) {
            return Err(input.error(
                "`#[lock]` goes on a function or a method; around a block use `locks::block::lock!`",
            ));
        }
        let sig = input.parse::<Signature>()?;
        if input.peek(Token![;]) {
            return Err(Error::new(
                sig.ident.span(),
                "this function has no body to hold a lock for: \
                 put `#[lock]` on its implementations",
            ));
        }
        if !input.peek(token::Brace) {
            return Err(input.error("expected the function's body"));
        }
        let body = braces(input)?;
        Ok(Self { attrs, vis, default, sig, body })
    }
}

impl Function {
    /// The function with `body` in place of its own. The outer braces stay the user's, which
    /// lints of dead code depend on.
    pub(crate) fn with_body(&self, body: TokenStream) -> TokenStream {
        let mut braces = Group::new(Delimiter::Brace, body);
        braces.set_span(self.body.span());
        let mut tokens = TokenStream::new();
        for attr in &self.attrs {
            attr.to_tokens(&mut tokens);
        }
        self.vis.to_tokens(&mut tokens);
        self.default.to_tokens(&mut tokens);
        self.sig.to_tokens(&mut tokens);
        braces.to_tokens(&mut tokens);
        tokens
    }
}

fn default(input: ParseStream<'_>) -> Result<Option<Token![default]>> {
    if input.peek(Token![default]) && !input.peek2(Token![!]) {
        return input.parse().map(Some);
    }
    Ok(None)
}

/// Whether what stands before the name, in whatever order, ends in `fn`.
fn begins_function(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    while ahead.peek(Token![const])
        || ahead.peek(Token![async])
        || ahead.peek(Token![unsafe])
        || ahead.peek(Token![extern])
        || ahead.peek(LitStr)
    {
        if ahead.parse::<TokenTree>().is_err() {
            return false;
        }
    }
    ahead.peek(Token![fn])
}
