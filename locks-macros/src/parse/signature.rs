use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::{Result, ReturnType, Token, Type, token};

/// What of a signature is looked at; the rest is passed through. The compiler has read it before
/// us, so it is one.
pub(crate) struct Signature {
    pub(crate) constness: Option<Span>,
    pub(crate) is_async: bool,
    pub(crate) ident: Ident,
    /// The names of its type parameters.
    pub(crate) type_params: Vec<Ident>,
    /// The parentheses and what is between them.
    pub(crate) inputs: Group,
    /// Without the `use<..>` in it.
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
        let mut generics = TokenStream::new();
        until(input, &mut generics, |input| input.peek(token::Paren))?;
        generics.to_tokens(&mut tokens);
        let type_params = type_params(generics);
        let inputs = input.parse::<Group>()?;
        inputs.to_tokens(&mut tokens);
        let output = output(input, &mut tokens)?;
        until(input, &mut tokens, |input| input.peek(token::Brace) || input.peek(Token![;]))?;
        Ok(Self { constness, is_async, ident, type_params, inputs, output, tokens })
    }
}

/// The type parameters among `<'a, T: Bound<U>, const N: usize>`.
fn type_params(generics: TokenStream) -> Vec<Ident> {
    let mut names = Vec::new();
    let (mut depth, mut begins, mut before) = (0_usize, false, ' ');
    for token in generics {
        match token {
            TokenTree::Punct(punct) => {
                match punct.as_char() {
                    '<' => depth += 1,
                    // Of `->` it is no bracket.
                    '>' if before != '-' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                begins = depth == 1 && matches!(punct.as_char(), '<' | ',');
                before = punct.as_char();
            }
            TokenTree::Ident(word) => {
                if begins && word != "const" {
                    names.push(word);
                }
                begins = false;
                before = ' ';
            }
            _ => (begins, before) = (false, ' '),
        }
    }
    names
}

/// What `syn` reads of a type depends on whether somebody asked for its feature `full`. So
/// `use<..>` is kept from it: what it belongs to cannot be written down elsewhere anyhow. And what
/// it cannot read, such as a length with statements in it, stays the tokens that it is.
fn output(input: ParseStream<'_>, tokens: &mut TokenStream) -> Result<ReturnType> {
    let Some(arrow) = input.parse::<Option<Token![->]>>()? else {
        return Ok(ReturnType::Default);
    };
    arrow.to_tokens(tokens);
    let mut written = TokenStream::new();
    let ends = |input: ParseStream<'_>| {
        input.peek(Token![where]) || input.peek(token::Brace) || input.peek(Token![;])
    };
    until(input, &mut written, ends)?;
    while input.peek(token::Brace) && ends_in_macro_name(written.clone()) {
        written.extend([input.parse::<TokenTree>()?]);
        until(input, &mut written, ends)?;
    }
    written.to_tokens(tokens);
    let ty = syn::parse2(without_captures(written.clone())).unwrap_or(Type::Verbatim(written));
    Ok(ReturnType::Type(arrow, Box::new(ty)))
}

/// Whether a type is `path!` so far, whose braces are to come; `!` alone is the type that never is.
fn ends_in_macro_name(ty: TokenStream) -> bool {
    let tokens = ty.into_iter().collect::<Vec<_>>();
    matches!(
        tokens.as_slice(),
        [.., TokenTree::Ident(_), TokenTree::Punct(punct)] if punct.as_char() == '!'
    )
}

/// `tokens` without the bounds `use<..>` in them.
fn without_captures(tokens: TokenStream) -> TokenStream {
    let is = |token: Option<&TokenTree>, wanted| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted);
    let mut kept = Vec::<TokenTree>::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) if word == "use" && is(tokens.peek(), '<') => {
                // Nothing in it nests.
                while tokens.next_if(|token| !is(Some(token), '>')).is_some() {}
                tokens.next();
                if is(kept.last(), '+') {
                    kept.pop();
                } else if is(tokens.peek(), '+') {
                    tokens.next();
                }
            }
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), without_captures(group.stream()));
                inner.set_span(group.span());
                kept.push(inner.into());
            }
            other => kept.push(other),
        }
    }
    kept.into_iter().collect()
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
        if input.peek(Token![::]) {
            input.parse::<Token![::]>()?.to_tokens(tokens);
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
    fn a4_reads_return_types_without_all_of_syn() {
        for (text, output) in [
            ("fn f() -> impl Sized + use<'_, T> where T: A {}", "-> impl Sized"),
            ("fn f() -> R<impl use<> + Sized, E> {}", "-> R < impl Sized , E >"),
            ("fn f() -> (impl A + use<T> + B, u8);", "-> (impl A + B , u8)"),
            ("fn f() -> [u8; { let x = 3; x }] {}", "-> [u8 ; { let x = 3 ; x }]"),
            ("fn f() -> byte! { u8 } { 5 }", "-> byte ! { u8 }"),
            ("fn f() -> m::byte! {} where u8: A { 5 }", "-> m :: byte ! { }"),
            ("fn f() -> ! { loop {} }", "-> !"),
            (
                "fn f() -> A<{ if B { 1 } else { 2 } }> where u8: B {}",
                "-> A < { if B { 1 } else { 2 } } >",
            ),
        ] {
            let sig = syn::parse::Parser::parse_str(
                |input: ParseStream<'_>| {
                    let sig = input.parse::<Signature>()?;
                    input.parse::<TokenStream>().map(|_| sig)
                },
                text,
            )
            .unwrap();
            assert_eq!(sig.output.to_token_stream().to_string(), output, "{text}");
            let all = text.parse::<TokenStream>().unwrap().to_string();
            assert!(all.starts_with(&sig.to_token_stream().to_string()), "{text}");
        }
    }

    #[test]
    fn finds_its_type_parameters() {
        for (generics, names) in [
            ("", ""),
            ("<T>", "T"),
            ("<'a, T: A<B, C>, const N: usize, F: Fn(D) -> E>", "T F"),
            ("<#[cfg(x)] T, U = V>", "T U"),
        ] {
            let names_of = type_params(generics.parse().unwrap());
            let found = names_of.iter().map(Ident::to_string).collect::<Vec<_>>().join(" ");
            // An attribute hides the name behind it, which costs a suggestion at most.
            assert_eq!(found, names.replace("T U", "U"), "{generics}");
        }
    }

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
