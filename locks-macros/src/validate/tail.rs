//! The asynchronous block that a function ends in which returns a future, and what stands before
//! it.

use proc_macro2::{Delimiter, Group, Ident, Spacing, Span, TokenStream, TokenTree};

use syn::ext::IdentExt as _;

use crate::parse::is_keyword;

/// `body` with the asynchronous block that it ends in put through `change`; `None` if it ends
/// otherwise.
///
/// The block becomes an `async move` if it is none: as it is returned, it borrows nothing of the
/// function's own, but what the key names has to go along.
pub(crate) fn in_tail(
    body: TokenStream,
    change: &mut dyn FnMut(Group) -> Group,
) -> Option<TokenStream> {
    let mut tokens = body.into_iter().collect::<Vec<_>>();
    let is = |tokens: &[TokenTree], back: usize, word: &str| {
        let at = tokens.len().checked_sub(back);
        at.is_some_and(|at| matches!(&tokens[at], TokenTree::Ident(ident) if ident == word))
    };
    if own_return(&tokens).is_some() && is_punct(tokens.last()?, ';') {
        // `return Box::pin(async move { .. });`
        let semicolon = tokens.pop();
        let before = in_tail(tokens.into_iter().collect(), change)?;
        return Some(before.into_iter().chain(semicolon).collect());
    }
    let TokenTree::Group(last) = tokens.last()?.clone() else { return None };
    let last = unwrapped(last);
    let changed = match last.delimiter() {
        Delimiter::Brace if is(&tokens, 2, "async") => {
            let moves = Ident::new("move", Span::mixed_site());
            tokens.insert(tokens.len() - 1, moves.into());
            change(last)
        }
        Delimiter::Brace if is(&tokens, 2, "move") && is(&tokens, 3, "async") => change(last),
        Delimiter::Parenthesis if is(&tokens, 2, "pin") => {
            let inner = without_comma(last.stream());
            let mut group = Group::new(Delimiter::Parenthesis, in_tail(inner, change)?);
            group.set_span(last.span());
            group
        }
        Delimiter::Parenthesis
            if last.stream().is_empty()
                && (is(&tokens, 2, "boxed") || is(&tokens, 2, "boxed_local"))
                && tokens.len() >= 3 =>
        {
            // `async move { .. }.boxed()`
            let method = tokens.split_off(tokens.len() - 3);
            let before = in_tail(tokens.into_iter().collect(), change)?;
            return Some(before.into_iter().chain(method).collect());
        }
        Delimiter::None => {
            let mut group = Group::new(Delimiter::None, in_tail(last.stream(), change)?);
            group.set_span(last.span());
            group
        }
        _ => return None,
    };
    *tokens.last_mut()? = changed.into();
    Some(tokens.into_iter().collect())
}

/// Whether somebody is still writing at `body`: it is empty, does nothing but to say so, has no
/// value at its end, or breaks off.
pub(super) fn is_unfinished(body: TokenStream) -> bool {
    let tokens = body.into_iter().collect::<Vec<_>>();
    let begin = tokens.iter().rposition(|token| is_punct(token, ';')).map_or(0, |at| at + 1);
    let word = |token: Option<&TokenTree>, words: &[&str]| matches!(token, Some(TokenTree::Ident(word)) if words.iter().any(|it| word == it));
    let last = &tokens[begin..];
    let says_so = word(tokens.first(), &["todo", "unimplemented", "panic", "unreachable"])
        && tokens.get(1).is_some_and(|token| is_punct(token, '!'))
        && tokens.len() <= 4;
    let breaks_off = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if !matches!(punct.as_char(), '?' | '>' | ';'));
    tokens.is_empty()
        || says_so
        || word(last.first(), &["let"])
        || last.is_empty()
            && !word(tokens.first(), &["return"])
            && other_return(tokens.iter().cloned().collect()).is_none()
        || last.last().is_some_and(breaks_off)
}

/// The braces in a `$body:block` of `macro_rules!`.
fn unwrapped(group: Group) -> Group {
    let mut inner = group.stream().into_iter();
    match (group.delimiter(), inner.next(), inner.next()) {
        (Delimiter::None, Some(TokenTree::Group(only)), None) => unwrapped(only),
        _ => group,
    }
}

fn without_comma(tokens: TokenStream) -> TokenStream {
    let mut tokens = tokens.into_iter().collect::<Vec<_>>();
    if matches!(tokens.last(), Some(TokenTree::Punct(punct)) if punct.as_char() == ',') {
        tokens.pop();
    }
    tokens.into_iter().collect()
}

/// A `return` with a future that is not the one at the end.
pub(super) fn other_return(body: TokenStream) -> Option<Span> {
    let tokens = body.into_iter().collect::<Vec<_>>();
    let own = own_return(&tokens);
    let others = tokens.into_iter().enumerate().filter(|(at, _)| Some(*at) != own);
    returns(others.map(|(_, token)| token))
}

/// Where the last statement says `return` itself.
fn own_return(tokens: &[TokenTree]) -> Option<usize> {
    let (last, before) = tokens.split_last()?;
    let whole = if is_punct(last, ';') { before } else { tokens };
    let begin = whole.iter().rposition(|token| is_punct(token, ';')).map_or(0, |at| at + 1);
    let is_return = |token: &TokenTree| matches!(token, TokenTree::Ident(word) if word == "return");
    whole[begin..].iter().position(is_return).map(|at| begin + at)
}

/// The first `return` that leaves the function: neither a closure, nor an inner function or block
/// of asynchronous code.
fn returns(tokens: impl IntoIterator<Item = TokenTree>) -> Option<Span> {
    let (mut elsewhere, mut in_parameters, mut operand, mut equals) = (false, false, false, false);
    for token in tokens {
        let (mut ends_operand, mut is_equals) = (false, false);
        match &token {
            TokenTree::Ident(word) if word == "return" && !elsewhere => return Some(word.span()),
            TokenTree::Ident(word) => {
                elsewhere |= word == "async" || word == "fn";
                ends_operand = !is_keyword(word);
            }
            TokenTree::Punct(punct) => match punct.as_char() {
                '|' if in_parameters => in_parameters = false,
                '|' if !operand => (elsewhere, in_parameters) = (true, true),
                // Behind an operand it is `a || b`, or one pattern of several.
                '|' => ends_operand = punct.spacing() == Spacing::Joint,
                ';' => elsewhere = false,
                // An arm begins.
                '>' if equals => elsewhere = false,
                other => (ends_operand, is_equals) = (other == '?', other == '='),
            },
            TokenTree::Group(group) => {
                let braces = group.delimiter() == Delimiter::Brace;
                if !(braces && elsewhere)
                    && let Some(span) = returns(group.stream())
                {
                    return Some(span);
                }
                elsewhere &= !braces;
                ends_operand = true;
            }
            TokenTree::Literal(_) => ends_operand = true,
        }
        (operand, equals) = (ends_operand, is_equals);
    }
    None
}

/// A variable of the function's own by the name of something that its key names.
pub(super) fn shadowed(body: TokenStream, names: &[String]) -> Option<Ident> {
    let mut in_pattern = false;
    let mut tokens = body.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match &token {
            TokenTree::Ident(word) if word == "let" => in_pattern = true,
            TokenTree::Punct(punct) if matches!(punct.as_char(), '=' | ';') => in_pattern = false,
            TokenTree::Punct(punct) if punct.as_char() == ':' => {
                // `let Kind::Known(id) = ..` or `let id: u8 = ..`
                match tokens.next_if(|token| is_punct(token, ':')) {
                    Some(_) => {}
                    None => in_pattern = false,
                }
            }
            _ if in_pattern => {
                if let Some(name) = named(token.into(), names) {
                    return Some(name);
                }
            }
            _ => {}
        }
    }
    None
}

/// A `mut` parameter that its key names, where there are statements that can change it before the
/// block at the end.
pub(super) fn changing(inputs: TokenStream, body: &TokenStream, names: &[String]) -> Option<Ident> {
    if !body.clone().into_iter().any(|token| is_punct(&token, ';')) {
        return None;
    }
    let (mut is_reference, mut in_lifetime, mut is_mut) = (false, false, false);
    for token in inputs {
        let lifetime = std::mem::replace(&mut in_lifetime, is_punct(&token, '\''));
        if is_reference && (in_lifetime || lifetime) {
            continue;
        }
        match &token {
            // Not of a reference's type, which may have a lifetime.
            TokenTree::Ident(word) if word == "mut" => {
                is_mut = !is_reference;
            }
            TokenTree::Ident(word) if is_mut && names.contains(&word.unraw().to_string()) => {
                return Some(word.clone());
            }
            TokenTree::Group(group) => {
                if let Some(name) = changing(group.stream(), body, names) {
                    return Some(name);
                }
                is_mut = false;
            }
            _ => is_mut = false,
        }
        is_reference = is_punct(&token, '&');
    }
    None
}

fn named(tokens: TokenStream, names: &[String]) -> Option<Ident> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(word) if names.contains(&word.unraw().to_string()) => Some(word),
        TokenTree::Group(group) => named(group.stream(), names),
        _ => None,
    })
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a5_knows_a_body_that_is_being_written() {
        for (body, unfinished) in [
            ("", true),
            ("todo!()", true),
            ("panic!(\"no\");", true),
            ("let x = 5", true),
            ("let x = id.", true),
            ("let x = 5; x +", true),
            ("f();", true),
            ("f()", false),
            ("todo!(); f()", false),
            ("x", false),
            ("f()?", false),
            ("return x;", false),
            ("if a { return x; } f();", false),
        ] {
            assert_eq!(is_unfinished(body.parse().unwrap()), unfinished, "{body}");
        }
    }

    #[test]
    fn a4_finds_a_return_of_another_future() {
        for (body, found) in [
            ("if a { return x; } async {}", true),
            ("if a || b { return x; } async {}", true),
            ("if a | b { return x; } async {}", true),
            ("if f() || g[0] || y? || true || { z } { return x; } async {}", true),
            ("match a { A | B => { return x; } _ => {} } async {}", true),
            ("match a { | A => { return x; } _ => {} } async {}", true),
            ("let f = |a| a + 1; if a { return x; } async {}", true),
            ("let f = |a, b: u8| { return 1; }; async {}", false),
            ("let f = || { return 1; }; async {}", false),
            ("let f = a || (move |_| { return true })(1); async {}", false),
            ("g(|a| { return 1; }, move || { return 2; }); async {}", false),
            ("fn f() -> u8 { return 1; } async { return 1; }", false),
            ("return async { return 1; };", false),
        ] {
            let tokens = body.parse().unwrap();
            assert_eq!(other_return(tokens).is_some(), found, "{body}");
        }
    }

    #[test]
    fn a1_finds_a_parameter_that_may_change_before_the_key_is_made() {
        for (inputs, body, found) in [
            ("mut id: u8", "id += 1; async {}", true),
            ("(a, mut id): (u8, u8)", "f(); async {}", true),
            ("mut id: u8", "async { id += 1; }", false),
            ("mut a: u8, id: u8", "a += 1; async {}", false),
            ("id: &mut u8", "f(); async {}", false),
            ("a: &mut id", "f(); async {}", false),
            ("a: &'a mut id", "f(); async {}", false),
            ("&'a mut id", "f(); async {}", false),
            ("mut id: &'a mut u8", "f(); async {}", true),
        ] {
            let (inputs, body) = (inputs.parse().unwrap(), body.parse().unwrap());
            assert_eq!(changing(inputs, &body, &["id".into()]).is_some(), found, "{body}");
        }
    }

    #[test]
    fn a4_finds_a_variable_in_the_way_of_the_key() {
        for (body, found) in [
            ("let id = 1;", true),
            ("let id: u8 = 1;", true),
            ("let (a, [id, ..]) = x;", true),
            ("let Kind::Known(id) = x else { panic!() };", true),
            ("let ::a::Kind { id, .. } = x;", true),
            ("let x: Id<id> = id;", false),
            ("let x = id;", false),
            ("{ let id = 1; }", false),
        ] {
            let tokens = body.parse().unwrap();
            assert_eq!(shadowed(tokens, &["id".into()]).is_some(), found, "{body}");
        }
    }
}
