//! One hole of a template: how far it reaches, and what may stand in it.

use std::str::FromStr as _;

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Expr, UnOp};

/// How far a hole reaches.
pub(super) struct Extent {
    /// The bytes between the brackets.
    pub(super) len: usize,
    /// Where in them the format begins: the first `:` that is not part of `::`.
    pub(super) colon: Option<usize>,
}

/// Finds the closing bracket of a hole that begins with `text`: the first one outside of nested
/// brackets, quotes and the fill of a format.
pub(super) fn extent(text: &str, close: char) -> Option<Extent> {
    let mut depth = 0_usize;
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        let rest = &text[at + char.len_utf8()..];
        match char {
            _ if char == close && depth == 0 => return Some(Extent { len: at, colon: None }),
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.checked_sub(1)?,
            '<' if close == '>' => depth += 1,
            '>' if close == '>' => depth = depth.checked_sub(1)?,
            '"' => skip(&mut chars, quoted(rest)?),
            '\'' => skip(&mut chars, character(rest)),
            ':' if rest.starts_with(':') => skip(&mut chars, 1),
            ':' if depth == 0 => {
                let spec = spec_len(rest, close)?;
                return Some(Extent { len: at + 1 + spec, colon: Some(at) });
            }
            _ => {}
        }
    }
    None
}

/// Whether the format of a hole that begins with `text` has one in it: `{id:{width}}`.
pub(super) fn nests(text: &str) -> bool {
    let mut parts = text.splitn(3, ['{', '}']);
    let (before, within) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is_word =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_');
    before.trim_end_matches(['<', '^', '>', '.', '0', '#', '+']).ends_with(':')
        && is_word(within)
        && text[before.len() + 1 + within.len()..].starts_with('}')
}

/// The length of a format, up to its closing bracket. `>` also aligns: it does where another
/// one follows that can close.
fn spec_len(text: &str, close: char) -> Option<usize> {
    let aligned = text.strip_prefix(['<', '^', '>']).or_else(|| {
        let fill = text.chars().next().filter(|&fill| fill != close)?;
        text[fill.len_utf8()..].strip_prefix(['<', '^', '>'])
    });
    let end_of = |from: usize| {
        let other = text[from..].find(['<', '{']).unwrap_or(text.len() - from);
        text[from..].find(close).filter(|&end| end < other).map(|end| from + end)
    };
    // `>` closes unless there is a width to align to: `<id:x>->step` has the format `x`.
    let aligns = |from: usize, end: usize| {
        let has_width = text[from..end].contains(char::is_alphanumeric);
        close != '>' || has_width && super::spec::check(&text[..end]).is_ok()
    };
    let far = aligned.and_then(|rest| {
        let from = text.len() - rest.len();
        end_of(from).filter(|&end| aligns(from, end))
    });
    far.or_else(|| end_of(0))
}

/// The length of a string literal, whose opening quote has been read.
fn quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The length of a character literal, or nothing if it is a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.chars();
    match chars.next() {
        Some('\\') => {
            let escaped = 1 + chars.next().map_or(0, char::len_utf8);
            text[escaped..].find('\'').map_or(0, |end| escaped + end + 1)
        }
        Some(char) if chars.next() == Some('\'') => char.len_utf8() + 1,
        _ => 0,
    }
}

fn skip(chars: &mut std::str::CharIndices<'_>, bytes: usize) {
    let rest = chars.as_str().len().saturating_sub(bytes);
    while chars.as_str().len() > rest {
        chars.next();
    }
}

/// The expression in a hole, with the template's span and hygiene.
///
/// # Errors
/// What is wrong with it.
pub(super) fn expression(source: &str, span: Span) -> Result<Expr, String> {
    let source = source.trim();
    if source.is_empty() {
        return Err("this hole is empty: name what goes in, as in `{id}`".into());
    }
    if source.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "`{source}` refers to an argument by its position, and a key has none: \
             name what goes in, as in `{{id}}`"
        ));
    }
    let no_expression = || format!("`{source}` is not an expression");
    let tokens = TokenStream::from_str(source).map_err(|_| no_expression())?;
    let tokens = at(raw(tokens), span);
    match syn::parse2::<Expr>(tokens.clone()) {
        Ok(expr) => check(&expr).map(|()| expr),
        Err(_) => Err(unread(tokens).map_or_else(no_expression, refusal)),
    }
}

/// The words of `tokens` as raw identifiers wherever they name something: `{type}` means `r#type`,
/// as it does to `format!`, and `{self.gen}` the field of that name. A raw identifier is none of an
/// edition's keywords, whichever edition the user's crate and ours are of.
fn raw(tokens: TokenStream) -> TokenStream {
    let tokens = tokens.into_iter().collect::<Vec<_>>();
    let is = |at: usize, wanted: char| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == wanted);
    let names = |at: usize| {
        let member = at > 0 && is(at - 1, '.');
        let begins =
            at == 0 || is(at - 1, ':') || is(at - 1, '&') || is(at - 1, '*') || is(at - 1, ',');
        let ends = match tokens.get(at + 1) {
            None => true,
            Some(TokenTree::Punct(next)) => matches!(next.as_char(), '.' | ',' | ':'),
            Some(TokenTree::Group(group)) => match group.delimiter() {
                Delimiter::Bracket => true,
                // Of `if (a) { b }` it would be a condition.
                Delimiter::Parenthesis => {
                    tokens.len() == at + 2 || member || at > 0 && is(at - 1, ':')
                }
                _ => false,
            },
            Some(_) => false,
        };
        member || begins && ends
    };
    let raw = |(at, token): (usize, &TokenTree)| match token {
        TokenTree::Group(group) => {
            let mut inner = Group::new(group.delimiter(), raw(group.stream()));
            inner.set_span(group.span());
            inner.into()
        }
        TokenTree::Ident(word) if names(at) && is_raw_name(word, at > 0 && is(at - 1, '.')) => {
            Ident::new_raw(&word.to_string(), word.span()).into()
        }
        other => other.clone(),
    };
    tokens.iter().enumerate().map(raw).collect()
}

/// Whether `word` is to be read as `r#word`.
fn is_raw_name(word: &Ident, member: bool) -> bool {
    let text = word.to_string();
    match text.as_str() {
        // Of these there is no raw form.
        "self" | "Self" | "super" | "crate" | "_" => false,
        "true" | "false" => member,
        "await" => !member,
        // A keyword since the edition of 2024 only, so that `syn` takes it for a name.
        "gen" => true,
        _ => !text.starts_with("r#") && syn::parse_str::<Ident>(&text).is_err(),
    }
}

/// Members and paths come from our expansion, as far as the compiler is told: else it would offer
/// to replace the whole template by the one that was meant. They are raw for our edition's
/// keywords' sake. A name by itself may be a variable, which no expansion sees: `Lock::placed`
/// knows which are none.
fn at(tokens: TokenStream, span: Span) -> TokenStream {
    let tokens = tokens.into_iter().collect::<Vec<_>>();
    let is = |at: Option<usize>, wanted: char| matches!(at.and_then(|at| tokens.get(at)), Some(TokenTree::Punct(p)) if p.as_char() == wanted);
    let ours = |at: usize, word: &Ident| {
        let before = at.checked_sub(1);
        let root = ["self", "super", "crate"].iter().any(|root| word == root);
        is(before, '.') || is(before, ':') || is(Some(at + 1), ':') && !root
    };
    let place = |(at, token): (usize, &TokenTree)| {
        let mut token = token.clone();
        if let TokenTree::Group(group) = &token {
            token = Group::new(group.delimiter(), self::at(group.stream(), span)).into();
        }
        let ours = matches!(&token, TokenTree::Ident(word) if ours(at, word));
        token.set_span(if ours { span.resolved_at(Span::mixed_site()) } else { span });
        token
    };
    tokens.iter().enumerate().map(place).collect()
}

/// Paths, literals, fields, calls, indices, parentheses, `&` and `*` (A1).
fn check(expr: &Expr) -> Result<(), String> {
    let refused = match expr {
        Expr::Path(_) | Expr::Lit(_) => return Ok(()),
        Expr::Field(field) => return check(&field.base),
        Expr::Paren(inner) => return check(&inner.expr),
        Expr::Group(inner) => return check(&inner.expr),
        Expr::Reference(inner) => return check(&inner.expr),
        Expr::Unary(inner) if matches!(inner.op, UnOp::Deref(_)) => return check(&inner.expr),
        Expr::Index(index) => return check(&index.expr).and_then(|()| check(&index.index)),
        Expr::MethodCall(call) => {
            return check(&call.receiver).and_then(|()| call.args.iter().try_for_each(check));
        }
        Expr::Call(call) => {
            return check(&call.func).and_then(|()| call.args.iter().try_for_each(check));
        }
        Expr::Binary(_) | Expr::Unary(_) | Expr::Cast(_) => "operators",
        Expr::Macro(_) => "macros",
        other => unread(other.to_token_stream()).unwrap_or("such expressions"),
    };
    Err(refusal(refused))
}

fn refusal(refused: &str) -> String {
    let instead = match refused {
        "`?`" | "`.await`" => {
            "do that before, and name the variable or parameter that has the value"
        }
        _ => "name a variable that has the value, or give the whole key as `key = format!(..)`",
    };
    format!("a hole cannot contain {refused}: {instead}")
}

/// What `syn` reads only with its feature `full`, which takes it half as long again to compile, and
/// which some other macro may have asked for. All of that is refused.
fn unread(tokens: TokenStream) -> Option<&'static str> {
    let statement = ["if", "match", "loop", "while", "for", "unsafe", "async", "move", "return"];
    let (mut first, mut after_dot) = (true, false);
    for token in tokens {
        match &token {
            TokenTree::Punct(punct) => match punct.as_char() {
                '?' => return Some("`?`"),
                '=' => return Some("operators"),
                '.' if after_dot => return Some("operators"),
                '|' if first => return Some("such expressions"),
                _ => {}
            },
            TokenTree::Ident(word) if after_dot && word == "await" => return Some("`.await`"),
            TokenTree::Ident(word) if first && statement.iter().any(|it| word == it) => {
                return Some("such expressions");
            }
            TokenTree::Group(group) => {
                let delimiter = group.delimiter();
                if first && matches!(delimiter, Delimiter::Brace | Delimiter::Bracket) {
                    return Some("such expressions");
                }
                if let Some(refused) = unread(group.stream()) {
                    return Some(refused);
                }
            }
            _ => {}
        }
        after_dot = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '.');
        first =
            matches!(&token, TokenTree::Punct(punct) if matches!(punct.as_char(), '&' | '*' | ','));
    }
    None
}
