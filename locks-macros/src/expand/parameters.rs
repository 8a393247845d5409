use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::quote_spanned;
use syn::parse::{ParseStream, Parser as _};
use syn::{Attribute, Token};

use crate::parse::{Signature, until};

/// What makes the parameters that `body` names be dropped in the order in which the function itself
/// drops them: the last one first.
///
/// A closure or an asynchronous block drops what it has captured in the order in which it names it.
///
/// ```text
/// // Input: fn f(a: A, b: B)
/// // Output:
/// if false {
///     let _ = &b;
///     let _ = &a;
/// }
/// ```
pub(super) fn in_order(sig: &Signature, body: TokenStream) -> TokenStream {
    let mut all = Vec::new();
    let inputs = variables.parse2(sig.inputs.stream()).expect("the compiler has read it");
    for (attrs, names) in &inputs {
        all.extend(names.iter().map(|name| (attrs.as_slice(), name)));
    }
    let mut words = Vec::new();
    collect(body, &mut words);
    all.retain(|(_, name)| {
        let name = name.to_string();
        words.iter().any(|word| *word == name || word.contains(&format!("{{{name}")))
    });
    if all.len() < 2 {
        return TokenStream::new();
    }
    let span = Span::mixed_site();
    let mentions = all.iter().rev().map(|(attrs, name)| {
        let present = attrs.iter().filter(|attr| attr.path().is_ident("cfg"));
        quote_spanned!(span=> #(#present)* let _ = &#name;)
    });
    quote_spanned!(span=> if false { #(#mentions)* })
}

/// The variables that each parameter makes, in their order.
fn variables(input: ParseStream<'_>) -> syn::Result<Vec<(Vec<Attribute>, Vec<Ident>)>> {
    let mut all = Vec::new();
    while !input.is_empty() {
        let attrs = input.call(Attribute::parse_outer)?;
        let mut pattern = TokenStream::new();
        let is_type = |input: ParseStream<'_>| input.peek(Token![:]) && !input.peek(Token![::]);
        while !input.is_empty() && !input.peek(Token![,]) && !is_type(input) {
            if input.peek(Token![::]) {
                quote::ToTokens::to_tokens(&input.parse::<Token![::]>()?, &mut pattern);
            } else {
                pattern.extend([input.parse::<TokenTree>()?]);
            }
        }
        if input.peek(Token![:]) {
            until(input, &mut TokenStream::new(), |input| input.peek(Token![,]))?;
        }
        input.parse::<Option<Token![,]>>()?;
        let mut names = Vec::new();
        bound(pattern, &mut names);
        all.push((attrs, names));
    }
    Ok(all)
}

/// The variables that a pattern makes, in its order: its words that are no path, no field's name and
/// no keyword.
fn bound(pattern: TokenStream, names: &mut Vec<Ident>) {
    let (mut in_path, mut in_lifetime) = (false, false);
    let mut tokens = pattern.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let colon = matches!(tokens.peek(), Some(TokenTree::Punct(p)) if p.as_char() == ':');
        match token {
            TokenTree::Ident(word) => {
                let braces = matches!(tokens.peek(), Some(TokenTree::Group(_)));
                let keyword = ["ref", "mut", "_"].iter().any(|keyword| word == keyword);
                if !(in_path || in_lifetime || colon || braces || keyword) {
                    names.push(word);
                }
                (in_path, in_lifetime) = (false, false);
            }
            TokenTree::Group(group) => bound(group.stream(), names),
            // Of `::`, but not of `field: pattern`.
            TokenTree::Punct(punct) => {
                in_path = punct.as_char() == ':' && (in_path || colon);
                in_lifetime = punct.as_char() == '\'';
            }
            TokenTree::Literal(_) => {}
        }
    }
}

/// The words of `tokens` that can be variables, and its strings, whose holes may name some.
fn collect(tokens: TokenStream, words: &mut Vec<String>) {
    let mut last = None;
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match &token {
            // A member, a path, or the name of a field.
            TokenTree::Ident(word) => {
                let colon =
                    matches!(tokens.peek(), Some(TokenTree::Punct(p)) if p.as_char() == ':');
                if !colon && !matches!(last, Some('.' | ':')) {
                    words.push(word.to_string());
                }
            }
            TokenTree::Literal(literal) => words.push(literal.to_string()),
            TokenTree::Group(group) => collect(group.stream(), words),
            TokenTree::Punct(_) => {}
        }
        last = match &token {
            TokenTree::Punct(punct) => Some(punct.as_char()),
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_of_patterns() {
        for (inputs, names) in [
            ("&'a mut self, n: u8", "self n"),
            ("self: Rc<Self>, mut n: Map<A, B>", "self n"),
            ("(a, b): (u8, u8), _: String, [h, ..]: [u8; 3], &r: &u8", "a b h r"),
            ("P { x, y: _, z: w, .. }: m::P, m::Q(a, ref b): Q", "x w a b"),
            ("#[cfg(test)] a: impl Fn(u8) -> Map<A, B>, b @ (c, _): T,", "a b c"),
        ] {
            let all = variables.parse_str(inputs).unwrap();
            let all = all.iter().flat_map(|(_, names)| names).map(Ident::to_string);
            assert_eq!(all.collect::<Vec<_>>().join(" "), names, "{inputs}");
        }
    }
}
