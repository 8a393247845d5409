use proc_macro2::{Delimiter, Spacing, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::{Ident, Lit, Result, Token, token};

/// An expression as it was written: only how far it reaches matters here, and the compiler reads
/// the rest.
pub(crate) struct Expression(TokenStream);

impl Parse for Expression {
    /// Up to a comma or `=>` that belongs neither to a closure's parameters nor to a type's
    /// arguments, or to a second operand where an operator should be: a comma is missing there.
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut tokens = TokenStream::new();
        let mut reader = Reader { begins: true, ..Reader::default() };
        // Braces behind it are a body.
        let mut is_literal = false;
        while !input.is_empty() {
            if !reader.is_inside() && (input.peek(Token![,]) || input.peek(Token![=>])) {
                break;
            }
            if reader.ends && (input.peek(Ident) || input.peek(Lit)) {
                break;
            }
            if is_literal && input.peek(token::Brace) {
                break;
            }
            is_literal = tokens.is_empty() && input.peek(Lit);
            let token = input.parse::<TokenTree>()?;
            reader.read(&token);
            tokens.extend([token]);
        }
        if tokens.is_empty() || reader.lacks_operand() {
            return Err(input.error("expected an expression"));
        }
        Ok(Self(tokens))
    }
}

impl Expression {
    /// The literal that it is.
    pub(crate) fn literal(&self) -> Option<Lit> {
        syn::parse2(self.peeled()).ok()
    }

    /// The name that it is.
    pub(crate) fn name(&self) -> Option<Ident> {
        syn::parse2(self.peeled()).ok()
    }

    pub(crate) fn is_closure(&self) -> bool {
        let mut tokens = self.peeled().into_iter();
        let word = |token: &TokenTree| matches!(token, TokenTree::Ident(word) if word == "move" || word == "async");
        let first = tokens.find(|token| !word(token));
        matches!(first, Some(TokenTree::Punct(punct)) if punct.as_char() == '|')
    }

    /// Whether it begins with `async`.
    pub(crate) fn is_async(&self) -> bool {
        let first = self.peeled().into_iter().next();
        matches!(first, Some(TokenTree::Ident(word)) if word == "async")
    }

    /// Whether a closure has its second `|`. Of one that lacks it the compiler would tell several
    /// times.
    pub(crate) fn closes_its_parameters(&self) -> bool {
        let is_bar =
            |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == '|');
        self.peeled().into_iter().filter(is_bar).count() > 1
    }

    /// How many parameters a closure has.
    pub(crate) fn closure_parameters(&self) -> usize {
        let is = |token: &TokenTree, wanted: char| matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted);
        let tokens = self.peeled().into_iter();
        let inside = tokens.skip_while(|token| !is(token, '|')).skip(1);
        let (mut count, mut angles, mut begins) = (0, 0_usize, true);
        for token in inside.take_while(|token| !is(token, '|')) {
            angles += usize::from(is(&token, '<'));
            angles = angles.saturating_sub(usize::from(is(&token, '>')));
            let ends = angles == 0 && is(&token, ',');
            count += usize::from(begins && !ends);
            begins = ends;
        }
        count
    }

    /// Whether it begins with a minus.
    pub(crate) fn is_negative(&self) -> bool {
        let first = self.peeled().into_iter().next();
        matches!(first, Some(TokenTree::Punct(punct)) if punct.as_char() == '-')
    }

    /// The first `?` or `.await` in it that is not of a closure's or a block's own.
    pub(crate) fn leaves(&self) -> Option<Span> {
        let mut after_dot = false;
        for token in self.peeled() {
            match &token {
                TokenTree::Ident(word) if after_dot && word == "await" => return Some(word.span()),
                TokenTree::Ident(word) if word == "async" => return None,
                TokenTree::Punct(punct) => match punct.as_char() {
                    '?' => return Some(punct.span()),
                    '|' => return None,
                    _ => {}
                },
                TokenTree::Group(group) if group.delimiter() != Delimiter::Brace => {
                    let inner = Self(group.stream());
                    if let Some(span) = inner.leaves() {
                        return Some(span);
                    }
                }
                _ => {}
            }
            after_dot = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '.');
        }
        None
    }

    /// Without the parentheses around it, visible or not.
    fn peeled(&self) -> TokenStream {
        let mut tokens = self.0.clone();
        loop {
            let mut each = tokens.clone().into_iter();
            match (each.next(), each.next()) {
                (Some(TokenTree::Group(group)), None)
                    if matches!(group.delimiter(), Delimiter::Parenthesis | Delimiter::None) =>
                {
                    tokens = group.stream();
                }
                _ => return tokens,
            }
        }
    }
}

/// What has been read so far, as far as it tells what a comma, a `<` or a `|` means.
#[derive(Default)]
struct Reader {
    /// An operand begins here, not an operator.
    begins: bool,
    /// An operand may end here.
    ends: bool,
    in_parameters: bool,
    /// Behind `as` or `->`.
    in_type: bool,
    /// How many `<` of types are open.
    angles: usize,
    /// The punctuation just before, and whether more follows at once.
    last: Option<(char, Spacing)>,
}

impl Reader {
    /// Among the parameters of a closure or the arguments of a type.
    fn is_inside(&self) -> bool {
        self.in_parameters || self.angles > 0
    }

    fn lacks_operand(&self) -> bool {
        // A range may lack its end; and `continue` is a whole expression.
        self.begins && matches!(self.last, Some((punct, _)) if punct != '.')
    }

    fn read(&mut self, token: &TokenTree) {
        if let TokenTree::Punct(punct) = token {
            self.read_punct(punct.as_char());
            self.begins = !matches!(punct.as_char(), '?' | '>' | ':' | '\'');
            self.ends = false;
            self.last = Some((punct.as_char(), punct.spacing()));
            return;
        }
        self.begins = false;
        if let TokenTree::Ident(word) = token {
            self.in_type |= word == "as";
            // Behind a label may stand what the `break` yields.
            self.begins = is_keyword(word) || matches!(self.last, Some(('\'', _)));
        }
        self.ends = !self.begins && !self.is_inside();
        self.last = None;
    }

    fn read_punct(&mut self, punct: char) {
        let joint = |first| self.last == Some((first, Spacing::Joint));
        match punct {
            '|' if self.in_parameters => self.in_parameters = false,
            '|' if self.begins && !joint('|') => self.in_parameters = true,
            '<' if self.angles > 0
                || self.in_type
                || self.begins && !joint('<')
                || matches!(self.last, Some((':', _))) =>
            {
                self.angles += 1;
            }
            // It was `<=`, which begins no arguments.
            '=' if joint('<') && self.in_type && self.angles > 0 => {
                self.angles -= 1;
                self.in_type = false;
            }
            '>' if joint('-') => self.in_type = true,
            // Of a type it would be the beginning: `as *const T`.
            '&' | '*' | '|' if !self.begins => self.in_type = false,
            '>' => self.angles = self.angles.saturating_sub(1),
            '+' | '-' | '/' | '%' | '^' | '=' | '?' | '.' => self.in_type = false,
            _ => {}
        }
    }
}

/// A word that is no operand.
pub(crate) fn is_keyword(word: &Ident) -> bool {
    let operands = ["self", "Self", "super", "crate", "true", "false", "await", "_"];
    syn::parse2::<Ident>(word.to_token_stream()).is_err() && operands.iter().all(|it| word != it)
}

impl ToTokens for Expression {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(self.0.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many expressions `text` consists of, all of which are read to their end.
    fn count(text: &str) -> usize {
        let all = |input: ParseStream<'_>| {
            input.parse_terminated(Expression::parse, Token![,]).map(|all| all.len())
        };
        syn::parse::Parser::parse_str(all, text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn an_expression_ends_at_its_comma() {
        for (text, expressions) in [
            ("a, b", 2),
            ("f(a, b), [c, d], { e, f }", 3),
            ("|a, b| a, c", 2),
            ("move |a| f::<u8, u16>(a), c", 2),
            ("|| 1, || 2", 2),
            ("a | b, c", 2),
            ("a || b, c || d", 2),
            ("a < b, c > d", 2),
            ("a >> b, c << d", 2),
            ("f::<A, fn(u8) -> B, C>(), d", 2),
            ("<A as B<C, D>>::new(), e", 2),
            ("Vec::<Vec<(A, B)>>::new(), e", 2),
            ("&*a, -b, !c, d?", 4),
            ("if a < b { c } else { d }, e", 2),
            ("x.y::<A, B>().z, w", 2),
            ("|x| -> Result<A, B> { x }, c", 2),
            ("x as Map<A, B>, c", 2),
            ("x as u8 + y < z, w > v", 2),
            ("x as bool && y < z, w", 2),
            ("x as u8 * y < z, w", 2),
            ("x as *const Map<A, B>, w", 2),
            ("|x: Map<A, B>, y| x, c", 2),
            ("break 'a 5, c", 2),
            ("break 'a |x, y| x, c", 2),
            ("break 'a, continue 'a, break 5", 3),
            ("'a: loop { break 'a 5 }, c", 2),
            ("x as &'a str, c", 2),
            ("x as &'static mut [u8], c", 2),
        ] {
            assert_eq!(count(text), expressions, "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_ends_where_it_goes_wrong() {
        let read = |input: ParseStream<'_>| {
            let expression = Expression::parse(input)?;
            let rest = input.parse::<TokenStream>()?;
            Ok(format!("{} / {rest}", expression.to_token_stream()))
        };
        for (text, outcome) in [
            ("false shared", "false / shared"),
            ("f() \"5s\"", "f () / \"5s\""),
            ("|e| e e", "| e | e / e"),
            ("if a { b } else { c }", "if a { b } else { c } / "),
            ("&mut a as u8", "& mut a as u8 / "),
            ("a..", "a .. / "),
            ("continue", "continue / "),
        ] {
            assert_eq!(syn::parse::Parser::parse_str(read, text).unwrap(), outcome);
        }
        for text in ["", "5 +", "|e|", "a.b(c) &&"] {
            assert!(syn::parse::Parser::parse_str(read, text).is_err(), "{text}");
        }
    }

    #[test]
    fn literals_names_and_closures_are_seen_through_parentheses() {
        let read = |text: &str| syn::parse_str::<Expression>(text).unwrap();
        assert!(matches!(read("((5))").literal(), Some(Lit::Int(_))));
        assert!(matches!(read("true").literal(), Some(Lit::Bool(_))));
        assert!(read("5 + 5").literal().is_none());
        assert!(read("(name)").name().is_some_and(|name| name == "name"));
        assert!(read("a.b").name().is_none());
        for closure in ["|e| 1", "move || 1", "(|e| 1)", "async move |e| 1"] {
            assert!(read(closure).is_closure(), "{closure}");
        }
        assert!(!read("a | b").is_closure());
        for (closure, parameters) in [
            ("|| 1", 0),
            ("|e| (a, b)", 1),
            ("move |Error { a, b }: Error| a", 1),
            ("|e: Map<A, B>,| 1", 1),
            ("(|a, _| 1)", 2),
        ] {
            assert_eq!(read(closure).closure_parameters(), parameters, "{closure}");
        }
    }
}
