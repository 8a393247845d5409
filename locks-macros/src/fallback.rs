//! What is emitted in place of an expansion when something is wrong.

use proc_macro2::{Delimiter, Group, Ident, Spacing, Span, TokenStream, TokenTree};
use quote::{quote, quote_spanned};

/// The function as it was, so that its callers do not fail as well, and the error.
///
/// Its parameters count as used, which the key might have done.
pub(crate) fn function(error: &syn::Error, item: TokenStream) -> TokenStream {
    let error = error.to_compile_error();
    match item.clone().into_iter().next() {
        // An expression: two of them would be one too many.
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            quote!({ #error #item })
        }
        Some(TokenTree::Ident(word)) if word == "let" => quote!(#error #item),
        _ => {
            let item = using(item);
            quote!(#item #error)
        }
    }
}

/// The body, where it is read and never reached, and the error as an expression that fits everywhere.
pub(crate) fn block(error: &syn::Error, input: TokenStream) -> TokenStream {
    let span = Span::mixed_site();
    let mut errors = error.clone().into_iter().map(|error| error.to_compile_error());
    let first = errors.next();
    let Some(body) = body(input.clone()) else { return quote!({ #(#errors;)* (#first) }) };
    let locks = krate(input);
    let mut any = false;
    let body = awaited(body, &mut any);
    let import = any.then(|| quote_spanned!(span=> use #locks::__private::Awaited as _;));
    quote_spanned!(span=> {
        #(#errors;)*
        if false {
            #import
            let _ = match #locks::__private::Some(()) {
                #locks::__private::Some(()) => #body,
                #locks::__private::None => #locks::__private::unreached(),
            };
        }
        (#first)
    })
}

/// `item` with the parameters of its function named at the top of its body.
fn using(item: TokenStream) -> TokenStream {
    let mut tokens = item.into_iter().collect::<Vec<_>>();
    let Some(at) =
        tokens.iter().position(|token| matches!(token, TokenTree::Ident(word) if word == "fn"))
    else {
        return tokens.into_iter().collect();
    };
    let is = |token: &TokenTree, delimiter| matches!(token, TokenTree::Group(group) if group.delimiter() == delimiter);
    let inputs = tokens[at..].iter().find(|token| is(token, Delimiter::Parenthesis)).cloned();
    let (Some(TokenTree::Group(inputs)), Some(TokenTree::Group(body))) =
        (inputs, tokens.last().cloned())
    else {
        return tokens.into_iter().collect();
    };
    let inner_attribute =
        body.stream().into_iter().next().is_some_and(|token| token.to_string() == "#");
    if body.delimiter() == Delimiter::Brace && !inner_attribute {
        let names = parameters(inputs.stream());
        let span = Span::mixed_site();
        let uses = names
            .into_iter()
            .map(|name| quote_spanned!(span=> let _ = &#name;))
            .collect::<TokenStream>();
        let mut used =
            Group::new(Delimiter::Brace, uses.into_iter().chain(body.stream()).collect());
        used.set_span(body.span());
        *tokens.last_mut().expect("the body is there") = used.into();
    }
    tokens.into_iter().collect()
}

/// The names that stand right before a colon or alone: of parameters without a pattern.
fn parameters(inputs: TokenStream) -> Vec<Ident> {
    let tokens = inputs.into_iter().collect::<Vec<_>>();
    let is = |at: usize, wanted: char| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == wanted);
    let mut names = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let begins = at == 0
            || is(at - 1, ',')
            || matches!(&tokens[at - 1], TokenTree::Ident(word) if word == "mut");
        if let TokenTree::Ident(name) = token
            && begins
            && name != "mut"
            && name != "self"
            && is(at + 1, ':')
            && !is(at + 2, ':')
        {
            names.push(name.clone());
        }
    }
    names
}

/// The body of a block whose arguments could not be read: the last braces, or what stands between `=> <`
/// and `>`.
fn body(input: TokenStream) -> Option<Group> {
    let tokens = input.into_iter().collect::<Vec<_>>();
    let is = |token: Option<&TokenTree>, wanted: char| matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == wanted);
    let joint =
        |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.spacing() == Spacing::Joint);
    let begins = |two: &[TokenTree]| is(two.first(), '=') && joint(&two[0]) && is(two.get(1), '>');
    let arrow = tokens.windows(2).position(begins);
    if let Some(at) = arrow
        && is(tokens.get(at + 2), '<')
    {
        let end = tokens.len() - usize::from(is(tokens.last(), '>') && tokens.len() > at + 3);
        let mut body = Group::new(Delimiter::Brace, tokens[at + 3..end].iter().cloned().collect());
        body.set_span(tokens[at + 2].span());
        return Some(body);
    }
    let from = arrow.map_or(0, |at| at + 2);
    let mut braces = tokens[from..].iter().filter_map(|token| match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(group.clone()),
        _ => None,
    });
    if arrow.is_some() { braces.next() } else { braces.next_back() }
}

/// The path of `crate = …`, or ours.
fn krate(input: TokenStream) -> TokenStream {
    let mut tokens = input
        .into_iter()
        .skip_while(|token| !matches!(token, TokenTree::Ident(word) if word == "crate"));
    let is = |token: Option<TokenTree>, wanted: char| matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == wanted);
    tokens.next();
    if !is(tokens.next(), '=') {
        return quote_spanned!(Span::mixed_site()=> ::locks);
    }
    tokens
        .take_while(|token| match token {
            TokenTree::Punct(punct) => punct.as_char() == ':',
            token => matches!(token, TokenTree::Ident(_)),
        })
        .collect()
}

/// `body` with a method of the same type for each `.await` outside of asynchronous code in it: where one
/// cannot stand, that is what the error is about. Sets `any` if there was one.
fn awaited(body: Group, any: &mut bool) -> Group {
    let mut tokens = Vec::new();
    let (mut after_dot, mut is_async) = (false, false);
    for token in body.stream() {
        let dot = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '.');
        match token {
            TokenTree::Ident(word) if after_dot && word == "await" => {
                tokens.push(Ident::new("__locks_awaited", word.span()).into());
                let mut none = Group::new(Delimiter::Parenthesis, TokenStream::new());
                none.set_span(word.span());
                tokens.push(none.into());
                *any = true;
            }
            TokenTree::Group(group) => {
                let own = is_async && group.delimiter() == Delimiter::Brace;
                is_async &= !own;
                tokens.push(if own { group } else { awaited(group, any) }.into());
            }
            other => {
                is_async |= matches!(&other, TokenTree::Ident(word) if word == "async");
                tokens.push(other);
            }
        }
        after_dot = dot;
    }
    let mut changed = Group::new(body.delimiter(), tokens.into_iter().collect());
    changed.set_span(body.span());
    changed
}
