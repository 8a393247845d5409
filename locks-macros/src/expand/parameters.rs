use proc_macro2::{Delimiter, Group, Ident, Spacing, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Attribute, Token};

use crate::parse::{Signature, is_keyword, until};
use crate::validate::{is_primitive, words_in_holes};

/// What makes the parameters that `body` names be dropped as the function itself drops them: each
/// of them whole, and the last one first.
///
/// A closure or an asynchronous block takes along the fields that it names, and drops them in the
/// order in which it names them; the rest would be dropped after the release.
///
/// ```text
/// // Input: fn f(a: A, b: B)
/// // Output, to stand where it is never reached:
/// let _ = &b;
/// let _ = &a;
/// ```
pub(super) fn in_order(
    sig: &Signature,
    body: TokenStream,
    guard: Option<&Ident>,
) -> Vec<(String, TokenStream)> {
    let dropped = |input: ParseStream<'_>| variables(input, |ty| !is_plain(ty));
    let all = dropped.parse2(sig.inputs.stream()).unwrap_or_default();
    if all.is_empty() {
        return Vec::new();
    }
    let mut words = Words::default();
    words.hidden.extend(guard.map(Ident::to_string));
    words.read(body, true, false);
    let span = Span::mixed_site();
    let mention = |Variable { present, name }: &Variable| {
        let (_, used) = words.used.iter().find(|(word, _)| name == word)?;
        // A lint tells of each use of these: so there must be one in the body, and this one stands
        // in its place, where the lint says the same once more and is not heard.
        let hidden = name.to_string().starts_with('_');
        if hidden && words.rebound.iter().any(|word| name == word) {
            return None;
        }
        let mut name = name.clone();
        if hidden {
            name.set_span(used.resolved_at(name.span()));
        }
        let word = name.unraw().to_string();
        Some((word, quote_spanned!(span=> #present let _ = &#name;)))
    };
    all.iter().rev().filter_map(mention).collect()
}

/// Mentions of all the parameters in `inputs` of which the compiler would say that nothing uses
/// them.
pub(crate) fn uses(inputs: TokenStream) -> TokenStream {
    let all =
        (|input: ParseStream<'_>| variables(input, |_| true)).parse2(inputs).unwrap_or_default();
    let span = Span::mixed_site();
    let told = |variable: &&Variable| {
        variable.name != "self" && !variable.name.to_string().starts_with('_')
    };
    let mention =
        |Variable { present, name }: &Variable| quote_spanned!(span=> #present let _ = &#name;);
    all.iter().filter(told).map(mention).collect()
}

/// What a parameter makes.
struct Variable {
    /// The `#[cfg(..)]` under which it is there.
    present: TokenStream,
    name: Ident,
}

/// The variables that the parameters of the types that are `wanted` make, in their order.
fn variables(
    input: ParseStream<'_>,
    wanted: impl Fn(TokenStream) -> bool,
) -> syn::Result<Vec<Variable>> {
    let mut all = Vec::new();
    while !input.is_empty() {
        let mut pattern = TokenStream::new();
        for attr in input.call(Attribute::parse_outer)? {
            attr.to_tokens(&mut pattern);
        }
        let mut ty = TokenStream::new();
        if let Ok(and) = input.fork().parse::<Token![&]>() {
            // `&self`, unless a type follows.
            and.to_tokens(&mut ty);
        }
        until(input, &mut pattern, |input| {
            input.peek(Token![,]) || input.peek(Token![:]) && !input.peek(Token![::])
        })?;
        if input.parse::<Option<Token![:]>>()?.is_some() {
            ty = TokenStream::new();
            until(input, &mut ty, |input| input.peek(Token![,]))?;
        }
        input.parse::<Option<Token![,]>>()?;
        if wanted(ty) {
            bound(pattern, false, &TokenStream::new(), &mut all);
        }
    }
    Ok(all)
}

/// Whether a type is that of a reference or a number, of which nobody sees when it is dropped.
fn is_plain(ty: TokenStream) -> bool {
    let mut tokens = ty.into_iter();
    match (tokens.next(), tokens.next()) {
        (Some(TokenTree::Group(group)), None) if group.delimiter() == Delimiter::None => {
            is_plain(group.stream())
        }
        (Some(TokenTree::Punct(punct)), _) => punct.as_char() == '&',
        (Some(TokenTree::Ident(word)), None) => is_primitive(&word.to_string()),
        _ => false,
    }
}

/// The variables that a pattern makes, in its order: its words that are no path, no field's name,
/// no keyword, and in no macro, of which nothing is known. `within` another pattern one in capitals
/// is a constant, as `None` is.
fn bound(pattern: TokenStream, within: bool, outer: &TokenStream, variables: &mut Vec<Variable>) {
    let tokens = pattern.into_iter().collect::<Vec<_>>();
    let is = |at: Option<usize>, wanted: char| {
        let token = at.and_then(|at| tokens.get(at));
        matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
    };
    let mut present = outer.clone();
    let mut angles = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        let (before, after) = (at.checked_sub(1), Some(at + 1));
        match token {
            TokenTree::Punct(punct) => match punct.as_char() {
                '<' => angles += 1,
                '>' => angles = angles.saturating_sub(1),
                ',' if angles == 0 => present = outer.clone(),
                _ => {}
            },
            _ if angles > 0 => {}
            TokenTree::Ident(word) => {
                let in_path = is(before, ':') && is(at.checked_sub(2), ':');
                let opens = matches!(tokens.get(at + 1), Some(TokenTree::Group(_)));
                let named = is(after, ':') || is(after, '!') || is(after, '<');
                let keyword = word == "ref" || word == "mut" || word == "_" || word == "box";
                let constant = within && word.to_string().starts_with(char::is_uppercase);
                let own = (!is_keyword(word) || word == "self") && !constant;
                if !(in_path || is(before, '\'') || opens || named || keyword) && own {
                    variables.push(Variable { present: present.clone(), name: word.clone() });
                }
            }
            TokenTree::Group(group) if is(before, '#') && makes_conditional(group.stream()) => {
                present.extend([tokens[at - 1].clone(), token.clone()]);
            }
            TokenTree::Group(group) if !is(before, '!') && !is(before, '#') => {
                bound(group.stream(), true, &present, variables);
            }
            _ => {}
        }
    }
}

/// Whether an attribute is a `cfg`, or a `cfg_attr` that may become one. Others are about the
/// parameter.
fn makes_conditional(attr: TokenStream) -> bool {
    fn has_cfg(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(word) => word == "cfg",
            TokenTree::Group(group) => has_cfg(group.stream()),
            _ => false,
        })
    }
    match attr.clone().into_iter().next() {
        Some(TokenTree::Ident(word)) => word == "cfg" || word == "cfg_attr" && has_cfg(attr),
        _ => false,
    }
}

/// The words of a body that can be variables of the function's own.
#[derive(Default)]
struct Words {
    /// With the place where it is used first.
    used: Vec<(String, Span)>,
    /// Variables of the body itself, by whose name nothing behind them is a parameter.
    hidden: Vec<String>,
    /// Words that the body binds anew somewhere within, so that nobody knows which one it uses.
    rebound: Vec<String>,
}

impl Words {
    /// Reads `tokens`; `outermost` are the statements of the body, `in_macro` what a macro is
    /// given.
    fn read(&mut self, tokens: TokenStream, outermost: bool, in_macro: bool) {
        let tokens = tokens.into_iter().collect::<Vec<_>>();
        let is = |at: Option<usize>, wanted: char| {
            let token = at.and_then(|at| tokens.get(at));
            matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
        };
        // What a `let` of the outermost statements makes is there at its end.
        let mut made = Vec::new();
        let mut in_pattern = false;
        let mut in_inner_let = false;
        let word_at = |at: usize, wanted: &[&str]| matches!(tokens.get(at), Some(TokenTree::Ident(word)) if wanted.iter().any(|it| word == it));
        // A pattern of a closure, an arm or a loop, or the name of a macro's argument.
        let in_other_pattern = |at: usize| {
            let (before, after) = (at.checked_sub(1), Some(at + 1));
            is(before, '|')
                || is(after, '|')
                || is(after, '@')
                || is(after, '=') && (is(Some(at + 2), '>') || in_macro && !is(Some(at + 2), '='))
                || before.is_some_and(|at| word_at(at, &["mut", "ref"]))
                || word_at(at + 1, &["in"])
        };
        for (at, token) in tokens.iter().enumerate() {
            let (before, after) = (at.checked_sub(1), Some(at + 1));
            match token {
                TokenTree::Ident(word) if word == "let" => {
                    let conditional =
                        before.is_some_and(|at| word_at(at, &["if", "while"])) || is(before, '&');
                    in_pattern = outermost && !conditional;
                    in_inner_let = !in_pattern;
                }
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
                    made.extend(names_in(group));
                }
                TokenTree::Ident(word) => {
                    // Behind `..` stands the end of a range, behind `.` a member.
                    let member = is(before, '.') && !is(at.checked_sub(2), '.');
                    let path = is(before, ':') && is(at.checked_sub(2), ':') || is(before, '\'');
                    let field = is(after, ':');
                    let called = matches!(tokens.get(at + 1), Some(TokenTree::Punct(p))
                        if p.as_char() == '!' && p.spacing() == Spacing::Alone);
                    if !(member || path || field || called) {
                        let opens = matches!(tokens.get(at + 1), Some(TokenTree::Group(_)));
                        if !opens && (in_inner_let || in_other_pattern(at)) {
                            self.rebound.push(word.to_string());
                        }
                        self.use_of(word.to_string(), word.span());
                    }
                }
                TokenTree::Literal(literal) if in_macro => {
                    for word in words_in_holes(&literal.to_string()) {
                        self.use_of(word, literal.span());
                    }
                }
                TokenTree::Literal(_) => {}
                TokenTree::Group(group) => {
                    let of_macro = is(before, '!')
                        || matches!(
                            before.and_then(|at| tokens.get(at)),
                            Some(TokenTree::Ident(_))
                        ) && is(at.checked_sub(2), '!')
                            && group.delimiter() == Delimiter::Brace;
                    if in_inner_let || in_other_pattern(at) {
                        self.rebound.extend(names_in(group));
                    }
                    self.read(group.stream(), false, in_macro || of_macro);
                }
                TokenTree::Punct(punct) => {
                    in_pattern &= punct.as_char() != '=';
                    in_inner_let &= !matches!(punct.as_char(), '=' | ';');
                    if punct.as_char() == ';' {
                        self.hidden.append(&mut made);
                        in_pattern = false;
                    }
                }
            }
        }
    }

    fn use_of(&mut self, word: String, span: Span) {
        if !self.hidden.contains(&word) && self.used.iter().all(|(other, _)| *other != word) {
            self.used.push((word, span));
        }
    }
}

/// The variables that a part of a pattern makes.
fn names_in(pattern: &Group) -> Vec<String> {
    let mut all = Vec::new();
    bound(pattern.stream(), true, &TokenStream::new(), &mut all);
    all.iter().map(|variable| variable.name.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(input: ParseStream<'_>) -> syn::Result<Vec<Variable>> {
        variables(input, |ty| !is_plain(ty))
    }

    #[test]
    fn the_variables_of_patterns() {
        for (inputs, names) in [
            ("self, n: u8, s: S", "self s"),
            ("&'a mut self, n: &u8, m: &'a mut S, o: Option<&S>", "o"),
            ("self: Rc<Self>, mut n: Map<A, B>", "self n"),
            ("(a, b): (u8, u8), _: String, [h, ..]: [u8; 3], &r: &u8", "a b h"),
            ("P { x, y: _, z: w, .. }: m::P, m::Q(a, ref b): Q", "x w a b"),
            ("#[cfg(test)] a: impl Fn(u8) -> Map<A, B>, b @ (c, _): T,", "a b c"),
            ("pair!(a, b): (u8, u8), c: C", "c"),
            ("P::<u8> { x }: P<u8>, <Q as R<A, B>>::S(y): S, MARK: Unit, m::N: M", "x y MARK"),
            ("(ref mut a, box_): (u8, u8), r#type: T", "a box_ r#type"),
            ("A: D, _b: D, S { #[doc = \"x\"] _c, .. }: S", "A _b _c"),
        ] {
            let all = dropped.parse_str(inputs).unwrap();
            let all = all.iter().map(|variable| variable.name.to_string());
            assert_eq!(all.collect::<Vec<_>>().join(" "), names, "{inputs}");
        }
    }

    #[test]
    fn the_conditions_of_patterns() {
        for (inputs, shown) in [
            ("#[cfg(a)] x: X, y: Y", "# [cfg (a)] x / y"),
            (
                "#[cfg_attr(a, cfg(b))] x: X, #[cfg_attr(a, doc = \"\")] y: Y",
                "# [cfg_attr (a , cfg (b))] x / y",
            ),
            ("S { #[cfg(a)] x, y }: S", "# [cfg (a)] x / y"),
            (
                "S { #[cfg(feature = \"f\")] x: (v, w), y }: S",
                "# [cfg (feature = \"f\")] v / # [cfg (feature = \"f\")] w / y",
            ),
            ("#[cfg(a)] S { #[cfg(b)] x, .. }: S", "# [cfg (a)] # [cfg (b)] x"),
        ] {
            let all = dropped.parse_str(inputs).unwrap();
            let all = all
                .iter()
                .map(|Variable { present, name }| format!("{present} {name}").trim().to_owned());
            assert_eq!(all.collect::<Vec<_>>().join(" / "), shown, "{inputs}");
        }
    }

    #[test]
    fn a_word_that_is_bound_anew() {
        for (body, rebound) in [
            ("_a + 1", ""),
            ("f(|_a| 1)", "_a"),
            ("f(|(_a, b)| b)", "_a b"),
            ("match x { Some(_a) => 1, _b => 2, c @ 1 => 3 }", "_a _b c"),
            ("{ let (_a, mut b) = x; }", "_a b"),
            ("if let Some(_a) = _b {}", "_a"),
            ("for _a in _b {}", "_a"),
            ("println!(\"{_a}\", _a = _b == c)", "_a"),
        ] {
            let mut words = Words::default();
            words.read(body.parse().unwrap(), true, false);
            let mut names = words.rebound.clone();
            names.sort();
            names.dedup();
            assert_eq!(names.join(" "), rebound, "{body}");
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
            let used_words = words.used.iter().map(|(word, _)| word);
            let used_words = used_words.filter(|word| !word.is_empty() && *word != "let");
            let used_words = used_words.filter(|word| *word != "loop" && *word != "_");
            assert_eq!(used_words.cloned().collect::<Vec<_>>().join(" "), used, "{body}");
        }
    }
}
