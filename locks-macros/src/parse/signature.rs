use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::{Result, ReturnType, Token, token};

/// What of a signature is looked at; the rest is passed through. The compiler has read it before
/// us, so it is one.
pub(crate) struct Signature {
    pub(crate) constness: Option<Span>,
    pub(crate) is_async: bool,
    pub(crate) ident: Ident,
    /// The parentheses and what is between them.
    pub(crate) inputs: Group,
    pub(crate) output: ReturnType,
    /// All of it.
    tokens: TokenStream,
}

impl Parse for Signature {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut tokens = TokenStream::new();
        let (mut constness, mut is_async) = (None, false);
        while !input.peek(Token![fn]) {
            let token = input.parse::<TokenTree>()?;
            if let TokenTree::Ident(word) = &token {
                is_async |= word == "async";
                constness = constness.or((word == "const").then(|| word.span()));
            }
            tokens.extend([token]);
        }
        input.parse::<Token![fn]>()?.to_tokens(&mut tokens);
        let ident = input.parse::<Ident>()?;
        ident.to_tokens(&mut tokens);
        until(input, &mut tokens, |input| input.peek(token::Paren))?;
        let inputs = input.parse::<Group>()?;
        inputs.to_tokens(&mut tokens);
        let output = input.parse::<ReturnType>()?;
        output.to_tokens(&mut tokens);
        until(input, &mut tokens, |input| input.peek(token::Brace) || input.peek(Token![;]))?;
        Ok(Self { constness, is_async, ident, inputs, output, tokens })
    }
}

/// Takes tokens until what comes next, outside of angle brackets, `ends`.
pub(crate) fn until(
    input: ParseStream<'_>,
    tokens: &mut TokenStream,
    ends: impl Fn(ParseStream<'_>) -> bool,
) -> Result<()> {
    let mut angles = 0_usize;
    while !input.is_empty() && (angles > 0 || !ends(input)) {
        if input.peek(Token![->]) {
            input.parse::<Token![->]>()?.to_tokens(tokens);
            continue;
        }
        let token = input.parse::<TokenTree>()?;
        if let TokenTree::Punct(punct) = &token {
            match punct.as_char() {
                '<' => angles += 1,
                '>' => angles = angles.saturating_sub(1),
                _ => {}
            }
        }
        tokens.extend([token]);
    }
    Ok(())
}

impl ToTokens for Signature {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(self.tokens.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_its_parts_and_keeps_the_rest() {
        for (text, inputs, output) in [
            ("fn f()", "()", ""),
            ("async unsafe extern \"C\" fn f(a: u8) -> u8 where u8: Copy", "(a : u8)", "-> u8"),
            (
                "const fn f<F: Fn(u8) -> u8, const N: usize>(f: F) -> A<{ N }> where F: B<{ N }>",
                "(f : F)",
                "-> A < { N } >",
            ),
        ] {
            let sig = syn::parse_str::<Signature>(text).unwrap();
            assert_eq!(sig.ident, "f", "{text}");
            assert_eq!(sig.is_async, text.starts_with("async"), "{text}");
            assert_eq!(sig.constness.is_some(), text.starts_with("const"), "{text}");
            assert_eq!(sig.inputs.to_string(), inputs, "{text}");
            assert_eq!(sig.output.to_token_stream().to_string(), output, "{text}");
            let all = text.parse::<TokenStream>().unwrap();
            assert_eq!(sig.to_token_stream().to_string(), all.to_string());
        }
    }
}
