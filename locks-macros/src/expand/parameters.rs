use proc_macro2::{Delimiter, Ident, Spacing, Span, TokenStream, TokenTree};
use quote::quote_spanned;
use syn::parse::{ParseStream, Parser as _};
use syn::{Attribute, Token};

use crate::parse::{Signature, is_keyword, until};

/// What makes the parameters that `body` names be dropped in the order in which the function itself
/// drops them: the last one first.
///
/// A closure or an asynchronous block drops what it has captured in the order in which it names it.
///
/// ```text
/// // Input: fn f(a: A, b: B)
/// // Output, to stand where it is never reached:
/// let _ = &b;
/// let _ = &a;
/// ```
pub(super) fn in_order(sig: &Signature, body: TokenStream) -> Vec<TokenStream> {
    let inputs = variables.parse2(sig.inputs.stream()).unwrap_or_default();
    let mut all = Vec::new();
    for (attrs, names) in &inputs {
        // Of these the user says that nothing uses them, so that a mention would be a lint.
        let names = names.iter().filter(|name| !name.to_string().starts_with('_'));
        all.extend(names.map(|name| (attrs.as_slice(), name)));
    }
    if all.len() < 2 {
        return Vec::new();
    }
    let mut words = Words::default();
    words.read(body, true, false);
    all.retain(|(_, name)| words.used.contains(&name.to_string()));
    if all.len() < 2 {
        return Vec::new();
    }
    let span = Span::mixed_site();
    let mention = |(attrs, name): &(&[Attribute], &Ident)| {
        let present = attrs.iter().filter(|attr| attr.path().is_ident("cfg"));
        quote_spanned!(span=> #(#present)* let _ = &#name;)
    };
    all.iter().rev().map(mention).collect()
}

/// The variables that each parameter makes, in their order.
fn variables(input: ParseStream<'_>) -> syn::Result<Vec<(Vec<Attribute>, Vec<Ident>)>> {
    let mut all = Vec::new();
    while !input.is_empty() {
        let attrs = input.call(Attribute::parse_outer)?;
        let mut pattern = TokenStream::new();
        until(input, &mut pattern, |input| {
            input.peek(Token![,]) || input.peek(Token![:]) && !input.peek(Token![::])
        })?;
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

/// The variables that a pattern makes, in its order: its words that are no path, no field's name, no
/// keyword, and in no macro, of which nothing is known.
fn bound(pattern: TokenStream, names: &mut Vec<Ident>) {
    let tokens = pattern.into_iter().collect::<Vec<_>>();
    let is = |at: Option<usize>, wanted: char| {
        let token = at.and_then(|at| tokens.get(at));
        matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
    };
    let mut angles = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        let (before, after) = (at.checked_sub(1), Some(at + 1));
        match token {
            TokenTree::Punct(punct) => match punct.as_char() {
                '<' => angles += 1,
                '>' => angles = angles.saturating_sub(1),
                _ => {}
            },
            _ if angles > 0 => {}
            TokenTree::Ident(word) => {
                let in_path = is(before, ':') && is(at.checked_sub(2), ':');
                let opens = matches!(tokens.get(at + 1), Some(TokenTree::Group(_)));
                let named = is(after, ':') || is(after, '!') || is(after, '<');
                // As the language's lints have it, a constant or a unit.
                let constant = word.to_string().starts_with(char::is_uppercase);
                let keyword = word == "ref" || word == "mut" || word == "_" || word == "box";
                let own = !is_keyword(word) || word == "self";
                if !(in_path || is(before, '\'') || opens || named || constant || keyword) && own {
                    names.push(word.clone());
                }
            }
            TokenTree::Group(group) if !is(before, '!') => bound(group.stream(), names),
            _ => {}
        }
    }
}

/// The words of a body that can be variables of the function's own.
#[derive(Default)]
struct Words {
    used: Vec<String>,
    /// Variables of the body itself, by whose name nothing behind them is a parameter.
    hidden: Vec<String>,
}

impl Words {
    /// Reads `tokens`; `outermost` are the statements of the body, `in_macro` what a macro is given.
    fn read(&mut self, tokens: TokenStream, outermost: bool, in_macro: bool) {
        let tokens = tokens.into_iter().collect::<Vec<_>>();
        let is = |at: Option<usize>, wanted: char| {
            let token = at.and_then(|at| tokens.get(at));
            matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
        };
        // What a `let` of the outermost statements makes is there at its end.
        let mut made = Vec::new();
        let mut in_pattern = false;
        for (at, token) in tokens.iter().enumerate() {
            let (before, after) = (at.checked_sub(1), Some(at + 1));
            match token {
                TokenTree::Ident(word) if word == "let" => in_pattern = outermost,
                TokenTree::Ident(word) if in_pattern => {
                    if !is_keyword(word) && !is(after, ':') {
                        made.push(word.to_string());
                    } else if is(after, ':') && !is(Some(at + 2), ':') {
                        // With its type; a field's name stands in braces.
                        made.push(word.to_string());
                        in_pattern = false;
                    }
                }
                TokenTree::Group(group) if in_pattern => {
                    let mut names = Vec::new();
                    bound(group.stream(), &mut names);
                    made.extend(names.iter().map(Ident::to_string));
                }
                TokenTree::Ident(word) => {
                    // Behind `..` stands the end of a range, behind `.` a member.
                    let member = is(before, '.') && !is(at.checked_sub(2), '.');
                    let path = is(before, ':') && is(at.checked_sub(2), ':') || is(before, '\'');
                    let field = is(after, ':');
                    let called = matches!(tokens.get(at + 1), Some(TokenTree::Punct(p))
                        if p.as_char() == '!' && p.spacing() == Spacing::Alone);
                    if !(member || path || field || called) {
                        self.use_of(word.to_string());
                    }
                }
                TokenTree::Literal(literal) if in_macro => self.read_format(&literal.to_string()),
                TokenTree::Literal(_) => {}
                TokenTree::Group(group) => {
                    let of_macro = is(before, '!')
                        || matches!(
                            before.and_then(|at| tokens.get(at)),
                            Some(TokenTree::Ident(_))
                        ) && is(at.checked_sub(2), '!')
                            && group.delimiter() == Delimiter::Brace;
                    self.read(group.stream(), false, in_macro || of_macro);
                }
                TokenTree::Punct(punct) => {
                    in_pattern &= punct.as_char() != '=';
                    if punct.as_char() == ';' {
                        self.hidden.append(&mut made);
                        in_pattern = false;
                    }
                }
            }
        }
    }

    fn use_of(&mut self, word: String) {
        if !self.hidden.contains(&word) && !self.used.contains(&word) {
            self.used.push(word);
        }
    }

    /// The names in a text that may be a format.
    fn read_format(&mut self, text: &str) {
        for hole in text.split('{').skip(1) {
            let hole = hole.split('}').next().unwrap_or_default();
            for word in hole.split(|char: char| !char.is_alphanumeric() && char != '_') {
                self.use_of(word.to_owned());
            }
        }
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
            ("pair!(a, b): (u8, u8), c: u8", "c"),
            ("P::<u8> { x }: P<u8>, <Q as R<A, B>>::S(y): S, MARK: Unit, m::N: M", "x y"),
            ("&mut (ref mut a, box_): &mut (u8, u8), r#type: u8", "a box_ r#type"),
        ] {
            let all = variables.parse_str(inputs).unwrap();
            let all = all.iter().flat_map(|(_, names)| names).map(Ident::to_string);
            assert_eq!(all.collect::<Vec<_>>().join(" "), names, "{inputs}");
        }
    }

    #[test]
    fn the_words_of_a_body_that_may_be_parameters() {
        for (body, used) in [
            ("a + b.c", "a b"),
            ("m::a; a::m; a!(b); 'a: loop {}", "b"),
            ("0..a; b..; P { c, d: e }", "a b P c e"),
            ("let s = \"{a}\"; println!(\"{b:w$}\", c)", "b w c"),
            ("let a = b; a", "b"),
            ("let a = a + 1; a", "a"),
            ("let a: u8 = 1; a", "u8"),
            ("let (a, _) = b; f(a)", "b f"),
            ("{ let a = 1; } a", "a"),
            ("a != b; !c", "a b c"),
        ] {
            let mut words = Words::default();
            words.read(body.parse().unwrap(), true, false);
            let used_words = words.used.iter().filter(|word| !word.is_empty() && *word != "let");
            let used_words = used_words.filter(|word| *word != "loop" && *word != "_");
            assert_eq!(used_words.cloned().collect::<Vec<_>>().join(" "), used, "{body}");
        }
    }
}
