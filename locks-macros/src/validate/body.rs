use std::iter::Peekable;

use proc_macro2::{Delimiter, Group, Spacing, Span, TokenStream, TokenTree, token_stream};
use syn::{Error, Result};

use super::{Lock, OnLost};
use crate::parse::is_keyword;

/// Refuses what a block's body cannot do.
pub(crate) fn check(lock: &Lock, asynchronous: bool, body: &Group) -> Result<()> {
    if let OnLost::Cancel(span) = lock.on_lost {
        if !asynchronous {
            return Err(Error::new(span, CANCEL_IS_ASYNC));
        }
        return match leaves(body.stream()) {
            Some(span) => Err(Error::new(
                span,
                "with `on_lost = \"cancel\"` the body is a future of its own, \
                 and `return`, `?`, `break` and `continue` do not leave the code around it: \
                 make it a value and go on behind the block",
            )),
            None => Ok(()),
        };
    }
    if asynchronous {
        return Ok(());
    }
    match awaits(body.stream()).or_else(|| awaiting_macro(body.stream())) {
        Some(span) => Err(Error::new(
            span,
            "this block holds its lock for a thread, which must not wait for a task: \
             write `lock!(async \"key\" => { .. })`",
        )),
        None => Ok(()),
    }
}

pub(super) const CANCEL_IS_ASYNC: &str = "`on_lost = \"cancel\"` drops the body at an await, and \
     there is none here: use `\"error\"`, or make this asynchronous";

/// The first `.await` outside of nested asynchronous code.
fn awaits(tokens: TokenStream) -> Option<Span> {
    let mut after_dot = false;
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match &token {
            TokenTree::Ident(word) if after_dot && word == "await" => return Some(word.span()),
            TokenTree::Ident(word) if word == "async" => skip_async(&mut tokens),
            TokenTree::Group(group) => {
                if let Some(span) = awaits(group.stream()) {
                    return Some(span);
                }
            }
            _ => {}
        }
        after_dot = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '.');
    }
    None
}

/// The first macro of which it is known that it awaits: `tokio::join!(..)`, or
/// `futures::select! { .. }`. By a bare `join!` or `select!` others go that block as they should.
fn awaiting_macro(tokens: TokenStream) -> Option<Span> {
    let mut tokens = tokens.into_iter().peekable();
    let mut path = Vec::<proc_macro2::Ident>::new();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) if word == "async" => skip_async(&mut tokens),
            TokenTree::Ident(word) => path.push(word),
            TokenTree::Punct(punct) if punct.as_char() == ':' => continue,
            TokenTree::Punct(punct) if punct.as_char() == '!' => {
                if let Some((name, of)) = path.split_last()
                    && ["join", "try_join", "select", "select_biased"].iter().any(|it| name == it)
                    && of.last().is_some_and(|of| {
                        ["tokio", "futures", "futures_util", "futures_lite"]
                            .iter()
                            .any(|it| of == it)
                    })
                {
                    return Some(name.span());
                }
                path.clear();
            }
            TokenTree::Group(group) => {
                if let Some(span) = awaiting_macro(group.stream()) {
                    return Some(span);
                }
                path.clear();
            }
            _ => path.clear(),
        }
    }
    None
}

/// Goes to the end of the block, closure or function whose `async` has been read.
fn skip_async(tokens: &mut Peekable<token_stream::IntoIter>) {
    let mut bars = 0;
    while let Some(token) = tokens.peek() {
        bars += u8::from(is(token, '|'));
        // A closure without braces ends where its expression does.
        if bars == 2 && (is(token, ',') || is(token, ';')) {
            return;
        }
        let braces = matches!(token, TokenTree::Group(g) if g.delimiter() == Delimiter::Brace);
        tokens.next();
        if braces {
            return;
        }
    }
}

/// Goes to the end of the closure whose first bar has been read.
fn skip_closure(tokens: &mut Peekable<token_stream::IntoIter>) {
    let _parameters = tokens.by_ref().find(|token| is(token, '|'));
    let braces = |token: &TokenTree| matches!(token, TokenTree::Group(g) if g.delimiter() == Delimiter::Brace);
    // With its type it has braces.
    let has_braces = tokens.peek().is_some_and(|token| braces(token) || is(token, '-'));
    // `::<A, B>`, whose comma is its own.
    let (mut angles, mut path) = (0_usize, false);
    while let Some(token) = tokens.peek() {
        if !has_braces && angles == 0 && (is(token, ',') || is(token, ';')) {
            return;
        }
        angles += usize::from(is(token, '<') && (path || angles > 0));
        angles = angles.saturating_sub(usize::from(is(token, '>')));
        path = is(token, ':');
        if tokens.next().is_some_and(|token| has_braces && braces(&token)) {
            return;
        }
    }
}

/// The first `return`, `?`, `break` or `continue` that is about the code around `body`: outside of
/// nested asynchronous code, functions and closures, and of the body's own loops.
fn leaves(body: TokenStream) -> Option<Span> {
    let mut labels = Vec::new();
    own_labels(body.clone(), &mut labels);
    leaves_from(body, false, &labels)
}

fn leaves_from(tokens: TokenStream, in_loop: bool, labels: &[String]) -> Option<Span> {
    // Of braces behind a loop's word it is not known which are the loop's, so that all of the
    // statement's count.
    let (mut nested, mut loops, mut operand) = (false, false, false);
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let follows_operand = std::mem::replace(&mut operand, is_operand(&token));
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '|' && !follows_operand && !nested => {
                skip_closure(&mut tokens);
            }
            // Behind an operand it is `a || b`, or one pattern of several.
            TokenTree::Punct(punct) if punct.as_char() == '|' => {
                operand = punct.spacing() == Spacing::Joint;
            }
            TokenTree::Ident(word) if word == "return" => return Some(word.span()),
            TokenTree::Ident(word) if word == "break" || word == "continue" => {
                let own = if tokens.next_if(|token| is(token, '\'')).is_some() {
                    matches!(tokens.peek(), Some(TokenTree::Ident(label)) if labels.iter().any(|own| label == own))
                } else {
                    in_loop
                };
                if !own && !nested {
                    return Some(word.span());
                }
            }
            TokenTree::Ident(word) => {
                nested |= word == "async" || word == "fn";
                loops |= ["loop", "while", "for"].iter().any(|it| word == it);
            }
            TokenTree::Punct(punct) if punct.as_char() == '?' => return Some(punct.span()),
            TokenTree::Punct(punct) => loops &= punct.as_char() != ';',
            TokenTree::Group(group) if nested && group.delimiter() == Delimiter::Brace => {
                nested = false;
            }
            TokenTree::Group(group) => {
                if let Some(span) = leaves_from(group.stream(), in_loop || loops, labels) {
                    return Some(span);
                }
            }
            TokenTree::Literal(_) => {}
        }
    }
    None
}

/// Whether a value can end with it.
fn is_operand(token: &TokenTree) -> bool {
    match token {
        TokenTree::Ident(word) => !is_keyword(word) || word == "self",
        TokenTree::Punct(punct) => punct.as_char() == '?',
        TokenTree::Group(_) | TokenTree::Literal(_) => true,
    }
}

/// The labels that are set in `tokens`: `'label:`.
fn own_labels(tokens: TokenStream, labels: &mut Vec<String>) {
    let tokens = tokens.into_iter().collect::<Vec<_>>();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => own_labels(group.stream(), labels),
            TokenTree::Ident(word)
                if at > 0
                    && is(&tokens[at - 1], '\'')
                    && tokens.get(at + 1).is_some_and(|next| is(next, ':')) =>
            {
                labels.push(word.to_string());
            }
            _ => {}
        }
    }
}

fn is(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c8_finds_what_leaves_a_body_that_is_a_future() {
        for (body, found) in [
            ("return 5;", true),
            ("f()?", true),
            ("if a { continue; }", true),
            ("break", true),
            ("loop { break; }", false),
            ("loop { f(); } break", true),
            ("while let S { x } = f() { if x { break; } }", false),
            ("for x in y { match x { A => continue, _ => break } }", false),
            ("for x in y { continue 'out; }", true),
            ("'own: for x in y { loop { continue 'own; } }", false),
            ("let x = 'own: { break 'own 5 };", false),
            ("loop {}; break", true),
            ("async { return 5; }; fn f() { return; }", false),
            ("f(|| loop { break })", false),
            ("f(|x| x.parse::<u8>()? + 1)", false),
            ("f(|x| { return x; }, move || -> Option<u8> { Some(g()?) })", false),
            ("let f = |x: u8| g(x)?; f(1)?", true),
            ("f(|x| g(x)?, g()?)", true),
            ("match x { A | B => f()?, C => 1 }", true),
            ("if a || f()? { 1 } else { 2 }", true),
            ("a | f()?", true),
        ] {
            assert_eq!(leaves(body.parse().unwrap()).is_some(), found, "{body}");
        }
    }
}
