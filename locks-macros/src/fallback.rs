//! What is emitted in place of an expansion when something is wrong.

use proc_macro2::{Delimiter, Group, Ident, Spacing, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote, quote_spanned};

use crate::expand::uses;
use crate::renamed;
use crate::validate::in_tail;

/// The function as it was, so that its callers do not fail as well, and the error.
///
/// Its parameters count as used, which the key might have done, and its guard is there.
pub(crate) fn function(error: &syn::Error, args: TokenStream, item: TokenStream) -> TokenStream {
    let error = told(error);
    match item.clone().into_iter().next() {
        // An expression: two of them would be one too many.
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            quote!({ #error #item })
        }
        Some(TokenTree::Ident(word)) if word == "let" => quote!(#error #item),
        Some(TokenTree::Ident(word)) if !begins_item(&word) => quote!({ #error #item }),
        _ => {
            let item = using(args, item);
            quote!(#item #error)
        }
    }
}

/// The body, where it is read and never reached, and the error as an expression that fits
/// everywhere.
pub(crate) fn block(error: &syn::Error, input: TokenStream) -> TokenStream {
    let span = Span::mixed_site();
    let mut errors = error.clone().into_iter().map(|error| told(&error));
    let first = errors.next();
    let Some(body) = body(input.clone()) else { return quote!({ #(#errors;)* (#first) }) };
    let locks = krate(input.clone());
    let mut any = false;
    let body = awaited(body, &mut any);
    let import = any.then(|| quote_spanned!(span=> use #locks::__private::Awaited as _;));
    let asynchronous = is_word(input.clone().into_iter().next().as_ref(), "async");
    let (value, pattern, used) = match guard(input) {
        Some(name) => {
            let used = quote_spanned!(span=> if { let _ = &#name; true });
            (held(&locks, asynchronous), name.to_token_stream(), used)
        }
        None => (quote_spanned!(span=> ()), quote_spanned!(span=> ()), TokenStream::new()),
    };
    quote_spanned!(span=> {
        #(#errors;)*
        if false {
            #import
            #[allow(unused_parens, unused_braces)]
            let _ = match #locks::__private::Some(#value) {
                #locks::__private::Some(#pattern) #used => #body,
                _ => #locks::__private::unreached(),
            };
        }
        (#first)
    })
}

/// Whether an item may begin with this word, rather than a loop or a call.
fn begins_item(word: &Ident) -> bool {
    let words = [
        "pub",
        "fn",
        "async",
        "unsafe",
        "safe",
        "const",
        "extern",
        "default",
        "gen",
        "struct",
        "enum",
        "union",
        "trait",
        "auto",
        "impl",
        "mod",
        "use",
        "static",
        "type",
        "macro",
        "macro_rules",
    ];
    words.iter().any(|it| word == it)
}

/// `error` as code. It begins with `::core`, which is looked up by the edition of its colons: in a
/// crate of 2015 they are ours.
fn told(error: &syn::Error) -> TokenStream {
    let told = error.to_compile_error();
    // Elsewhere the message would tell as well that it comes from a macro.
    if !renamed::is_of_2015() {
        return told;
    }
    let place = |mut token: TokenTree| {
        if matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ':') {
            token.set_span(token.span().resolved_at(Span::mixed_site()));
        }
        token
    };
    told.into_iter().map(place).collect()
}

/// `item` with the guard that `args` name, and the parameters of its function named, at the top of
/// its body.
fn using(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut tokens = item.into_iter().collect::<Vec<_>>();
    let Some(at) = tokens.iter().position(|token| is_word(Some(token), "fn")) else {
        return tokens.into_iter().collect();
    };
    let is = |token: &TokenTree, delimiter| matches!(token, TokenTree::Group(group) if group.delimiter() == delimiter);
    let inputs = tokens[at..].iter().find(|token| is(token, Delimiter::Parenthesis)).cloned();
    let (Some(TokenTree::Group(inputs)), Some(TokenTree::Group(body))) =
        (inputs, tokens.last().cloned())
    else {
        return tokens.into_iter().collect();
    };
    if body.delimiter() == Delimiter::Brace {
        let word = |word| tokens[..at].iter().any(|token| is_word(Some(token), word));
        let asynchronous = word("async") || in_tail(body.stream(), &mut |group| group).is_some();
        // A `const fn` can call nothing of ours.
        let guard = guard(args.clone()).filter(|_| !word("const")).map(|name| {
            let span = Span::mixed_site();
            let value = held(&krate(args), asynchronous);
            quote_spanned!(span=> let #name = #value; let _ = &#name;)
        });
        let (attributes, rest) = split_attributes(body.stream());
        let uses = uses(inputs.stream());
        let mut used = Group::new(Delimiter::Brace, quote!(#attributes #guard #uses #rest));
        used.set_span(body.span());
        *tokens.last_mut().expect("the body is there") = used.into();
    }
    tokens.into_iter().collect()
}

/// The `#![..]` at the top of a body, and what follows.
fn split_attributes(body: TokenStream) -> (TokenStream, TokenStream) {
    let tokens = body.into_iter().collect::<Vec<_>>();
    let is = |at: usize, wanted: char| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == wanted);
    let mut at = 0;
    while is(at, '#') && is(at + 1, '!') {
        at += 3;
    }
    let at = at.min(tokens.len());
    (tokens[..at].iter().cloned().collect(), tokens[at..].iter().cloned().collect())
}

/// What the guard is bound to where nothing is held.
fn held(locks: &TokenStream, asynchronous: bool) -> TokenStream {
    let span = Span::mixed_site();
    let guard = if asynchronous { quote!(OwnedGuard) } else { quote!(Guard) };
    quote_spanned!(span=> #locks::__private::unreached::<&#locks::__private::#guard>())
}

/// The name of `guard = name`.
fn guard(args: TokenStream) -> Option<Ident> {
    match behind("guard", args).next()? {
        TokenTree::Ident(name) if syn::parse2::<Ident>(name.to_token_stream()).is_ok() => {
            Some(name)
        }
        _ => None,
    }
}

/// What stands behind `option =`.
fn behind(option: &str, args: TokenStream) -> impl Iterator<Item = TokenTree> {
    let tokens = args.into_iter().collect::<Vec<_>>();
    let gives = |two: &[TokenTree]| {
        let equals = matches!(&two[1], TokenTree::Punct(punct) if punct.as_char() == '=');
        is_word(two.first(), option) && equals
    };
    let begin = tokens.windows(2).position(gives).map_or(tokens.len(), |at| at + 2);
    tokens.into_iter().skip(begin)
}

fn is_word(token: Option<&TokenTree>, wanted: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(word)) if word == wanted)
}

/// The body of a block whose arguments could not be read: what stands between `=> <` and `>`, the
/// braces behind the arrow, or all that is behind it; and without an arrow the braces behind the
/// last comma.
fn body(input: TokenStream) -> Option<Group> {
    let tokens = input.into_iter().collect::<Vec<_>>();
    let is = |token: Option<&TokenTree>, wanted: char| matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == wanted);
    let joint =
        |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.spacing() == Spacing::Joint);
    let braces = |token: Option<&TokenTree>| match token {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            Some(group.clone())
        }
        _ => None,
    };
    let begins = |two: &[TokenTree]| is(two.first(), '=') && joint(&two[0]) && is(two.get(1), '>');
    let Some(arrow) = tokens.windows(2).position(begins) else {
        let end = tokens.len() - usize::from(is(tokens.last(), ','));
        let body = braces(tokens[..end].last())?;
        return is(end.checked_sub(2).map(|at| &tokens[at]), ',').then_some(body);
    };
    let behind = &tokens[arrow + 2..];
    let first = behind.first()?;
    if let Some(body) = braces(Some(first)) {
        return Some(body);
    }
    let angled = is(Some(first), '<');
    let begin = usize::from(angled);
    let end = behind.len() - usize::from(angled && is(behind.last(), '>') && behind.len() > 1);
    let mut body = Group::new(Delimiter::Brace, behind[begin..end].iter().cloned().collect());
    body.set_span(first.span());
    Some(body)
}

/// The path of `crate = …`, or ours.
fn krate(input: TokenStream) -> TokenStream {
    let path = behind("crate", input)
        .take_while(|token| match token {
            TokenTree::Punct(punct) => punct.as_char() == ':',
            token => matches!(token, TokenTree::Ident(_)),
        })
        .collect::<TokenStream>();
    if !path.is_empty() {
        return path;
    }
    let span = Span::mixed_site();
    let name = Ident::new(renamed::other_name().unwrap_or("locks"), span);
    quote_spanned!(span=> ::#name)
}

/// `body` with a method of the same type for each `.await` outside of asynchronous code in it:
/// where one cannot stand, that is what the error is about. Sets `any` if there was one.
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
