use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use syn::parse::{Parse, ParseStream};
use syn::{Error, Result, Token, token};

use super::{Args, braces};

/// `async "key", options => { body }`
pub(crate) struct Block {
    pub(crate) asyncness: Option<Token![async]>,
    pub(crate) args: Args,
    pub(crate) body: Group,
}

impl Parse for Block {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let asyncness = input.parse()?;
        let args = input.parse()?;
        let arrow = input.parse::<Option<Token![=>]>>()?;
        let body = if input.peek(token::Brace) {
            let body = braces(input)?;
            input.parse::<Option<Token![,]>>()?;
            if !input.is_empty() {
                return Err(input.error("nothing can follow the body"));
            }
            body
        } else if arrow.is_some() && input.peek(Token![<]) {
            angled(input)?
        } else if input.peek(Token![async]) {
            return Err(input.error(
                "a block that awaits has `async` before its key: `lock!(async \"key\" => { .. })`",
            ));
        } else {
            let span = arrow.map_or_else(|| input.span(), |arrow| arrow.spans[1]);
            return Err(Error::new(
                span,
                "expected the body: `lock!(\"key\" => { .. })`, `lock!(\"key\", { .. })` or \
                 `lock!(\"key\" => < .. >)`",
            ));
        };
        Ok(Self { asyncness, args, body })
    }
}

/// Everything between the first `<` and the last `>`, in braces that stand where the `<` does.
fn angled(input: ParseStream<'_>) -> Result<Group> {
    let tokens = input.parse::<TokenStream>()?;
    let mut tokens = tokens.into_iter().collect::<Vec<_>>();
    let is = |token: Option<&TokenTree>, wanted: char| matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == wanted);
    let opening = tokens.first().map_or_else(Span::call_site, TokenTree::span);
    if tokens.len() < 2 || !is(tokens.last(), '>') {
        let span = tokens.last().map_or(opening, TokenTree::span);
        return Err(Error::new(span, "the body began with `<`, so it has to end with `>`"));
    }
    tokens.pop();
    let mut body = Group::new(Delimiter::Brace, tokens.into_iter().skip(1).collect());
    body.set_span(opening);
    Ok(body)
}
