use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::quote_spanned;
use syn::punctuated::Punctuated;
use syn::{Attribute, FnArg, Pat, Signature, Token};

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
    for input in &sig.inputs {
        match input {
            FnArg::Receiver(receiver) => {
                let name = Ident::new("self", receiver.self_token.span);
                all.push((receiver.attrs.as_slice(), name));
            }
            FnArg::Typed(typed) => bound(&typed.pat, &typed.attrs, &mut all),
        }
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

/// The variables that a pattern makes, in its order.
fn bound<'a>(pat: &'a Pat, attrs: &'a [Attribute], all: &mut Vec<(&'a [Attribute], Ident)>) {
    let mut each = |pats: &'a Punctuated<Pat, Token![,]>| {
        pats.iter().for_each(|pat| bound(pat, attrs, all));
    };
    match pat {
        Pat::Ident(pat) => all.push((attrs, pat.ident.clone())),
        Pat::Tuple(pat) => each(&pat.elems),
        Pat::TupleStruct(pat) => each(&pat.elems),
        Pat::Slice(pat) => each(&pat.elems),
        Pat::Struct(pat) => pat.fields.iter().for_each(|field| bound(&field.pat, attrs, all)),
        Pat::Paren(pat) => bound(&pat.pat, attrs, all),
        Pat::Reference(pat) => bound(&pat.pat, attrs, all),
        Pat::Type(pat) => bound(&pat.pat, attrs, all),
        _ => {}
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
