//! What is emitted in place of an expansion when something is wrong.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{quote, quote_spanned};

/// The function as it was, so that its callers do not fail as well, and the error.
///
/// `args` are the attribute's: what of the function's parameters only the key would have used is used, so
/// that nothing is said of that either.
pub(crate) fn function(error: &syn::Error, args: TokenStream, item: TokenStream) -> TokenStream {
    let error = error.to_compile_error();
    let item = using(args, item);
    quote!(#item #error)
}

/// The body without its lock, as the expression that it would have been, and the error.
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
        #first;
        #(#errors;)*
        #import
        match () { () => #locks::__private::instead(#body) }
    })
}

/// `item` with the words of `args` that are parameters of its function named at the top of its body.
fn using(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut words = Vec::new();
    collect(args, &mut words);
    let mut tokens = item.into_iter().collect::<Vec<_>>();
    let Some(at) = tokens.iter().position(|token| matches!(token, TokenTree::Ident(word) if word == "fn")) else {
        return tokens.into_iter().collect();
    };
    let is = |token: &TokenTree, delimiter| matches!(token, TokenTree::Group(group) if group.delimiter() == delimiter);
    let inputs = tokens[at..].iter().find(|token| is(token, Delimiter::Parenthesis)).cloned();
    let (Some(TokenTree::Group(inputs)), Some(TokenTree::Group(body))) = (inputs, tokens.last().cloned()) else {
        return tokens.into_iter().collect();
    };
    let inner_attribute = body.stream().into_iter().next().is_some_and(|token| token.to_string() == "#");
    if body.delimiter() == Delimiter::Brace && !inner_attribute {
        let names = parameters(inputs.stream());
        let names = names.into_iter().filter(|name| words.contains(&name.to_string()));
        let span = Span::mixed_site();
        let uses = names.map(|name| quote_spanned!(span=> let _ = &#name;)).collect::<TokenStream>();
        let mut used = Group::new(Delimiter::Brace, uses.into_iter().chain(body.stream()).collect());
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
            && is(at + 1, ':')
            && !is(at + 2, ':')
        {
            names.push(name.clone());
        }
    }
    names
}

/// The words of `tokens`, those in strings included.
fn collect(tokens: TokenStream, words: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(word) => words.push(word.to_string()),
            TokenTree::Group(group) => collect(group.stream(), words),
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                let split = text.split(|char: char| !char.is_alphanumeric() && char != '_');
                words.extend(split.map(str::to_owned));
            }
            TokenTree::Punct(_) => {}
        }
    }
}

/// The body of a block whose arguments could not be read: the last braces, or what stands between `=> <`
/// and `>`.
fn body(input: TokenStream) -> Option<Group> {
    let tokens = input.into_iter().collect::<Vec<_>>();
    let is = |token: Option<&TokenTree>, wanted: char| matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == wanted);
    let arrow = tokens.windows(2).position(|two| is(two.first(), '=') && is(two.get(1), '>'));
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
    let mut tokens = input.into_iter().skip_while(|token| !matches!(token, TokenTree::Ident(word) if word == "crate"));
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
