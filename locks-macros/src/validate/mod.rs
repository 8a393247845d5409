//! What has been parsed, made into something that can be expanded, or into an error that says
//! what is allowed.

mod body;
mod duration;
mod function;
mod returned;
mod settings;
mod suggestion;
mod tail;

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote_spanned};
use syn::ext::IdentExt as _;
use syn::{Error, Lit, LitStr, Path, Result};

use crate::parse::{self, Args, Expression, Piece, Template};
use crate::renamed;

pub(crate) use body::check as body;
pub(crate) use function::{Target, check as function};
pub(crate) use returned::{Known, Returned, is_primitive};
pub(crate) use tail::in_tail;

/// A lock as the arguments describe it.
pub(crate) struct Lock {
    /// The path of `crate = …`.
    pub(crate) krate: Option<Path>,
    pub(crate) keys: Vec<Key>,
    /// Calls on the builder, in any order.
    pub(crate) options: TokenStream,
    pub(crate) backend: Option<Expression>,
    pub(crate) weak: bool,
    /// A free key can be granted without looking at the options.
    pub(crate) plain: bool,
    /// All options are literals, so that they take nothing along.
    pub(crate) fixed: bool,
    /// Whether it counts if what is done under the lock succeeds (C14).
    pub(crate) marks_done: bool,
    /// Whether it asks to nest, which who is anonymous cannot (C9).
    pub(crate) reentrant: bool,
    /// Whether the request may end because somebody else has the lock (A2).
    pub(crate) may_be_contended: bool,
    pub(crate) on_lost: OnLost,
    pub(crate) otherwise: Option<Otherwise>,
    pub(crate) guard: Option<Ident>,
    /// The words that may be variables where it is: of a function its parameters, of a block any.
    pub(crate) variables: Option<Vec<String>>,
}

pub(crate) enum Key {
    /// Known when the program is compiled.
    Constant(String, LitStr),
    Template(Template),
    Value(Expression),
}

#[derive(Default)]
pub(crate) enum OnLost {
    #[default]
    Continue,
    Error,
    Cancel(Span),
}

pub(crate) enum Otherwise {
    Value(Expression),
    /// It gets the error.
    Closure(Expression),
}

/// Makes sense of the arguments.
///
/// # Errors
/// All that is wrong with them.
pub(crate) fn lock(args: Args) -> Result<Lock> {
    if args.keys.is_empty() && args.settings.is_empty() {
        return Err(Error::new(args.end, "name the lock, as in `\"ledger\"` or `\"user_{id}\"`"));
    }
    let mut lock = Lock {
        krate: None,
        keys: Vec::new(),
        options: TokenStream::new(),
        backend: None,
        weak: false,
        plain: true,
        fixed: true,
        marks_done: false,
        reentrant: false,
        may_be_contended: false,
        on_lost: OnLost::Continue,
        otherwise: None,
        guard: None,
        variables: None,
    };
    let mut errors = None::<Error>;
    let mut note = |error: Error| match &mut errors {
        Some(errors) => errors.combine(error),
        None => errors = Some(error),
    };
    let keys = args.keys.len();
    for key in args.keys {
        match self::key(key) {
            Ok(key) => lock.keys.push(key),
            Err(error) => note(error),
        }
    }
    let mut settings = args.settings;
    if lock.keys.len() < keys {
        // An argument for a hole, as `format!` takes it: what is wrong with the hole is said.
        settings.retain(|setting| setting.value.is_some() || settings::is_option(&setting.name));
    }
    if let Err(error) = settings::apply(settings, &mut lock) {
        note(error);
    } else if keys == 0 {
        note(Error::new(args.end, "name the lock, as in `\"ledger\"` or `\"user_{id}\"`"));
    }
    if errors.is_none()
        && lock.krate.is_none()
        && let Some(name) = renamed::other_name()
    {
        let why =
            format!("this crate knows `locks` by the name of `{name}`: add `crate = ::{name}`");
        return Err(Error::new(args.end, why));
    }
    errors.map_or(Ok(lock), Err)
}

fn key(key: parse::Key) -> Result<Key> {
    let literal = match key {
        parse::Key::Template(literal) => literal,
        parse::Key::Value(value) => match value.literal() {
            Some(Lit::Str(literal)) if literal.value().contains(['{', '}', '<']) => {
                return Err(Error::new(literal.span(), NO_TEMPLATE));
            }
            Some(Lit::Str(literal)) => literal,
            _ => return Ok(Key::Value(value)),
        },
    };
    let template = Template::parse(literal)?;
    let why = if template.constant() == Some("") {
        "the key is empty: give it at least one character"
    } else if template.least_len() > MAX_KEY_LEN {
        "the key is longer than 1,024 bytes: use a hash of it"
    } else if template.has_nul() {
        "a key cannot contain a NUL byte"
    } else {
        return Ok(match template.constant() {
            Some(text) => Key::Constant(text.to_owned(), template.literal),
            None => Key::Template(template),
        });
    };
    Err(Error::new(template.literal.span(), why))
}

/// The words of an expression that are no members, with those in the holes of a format.
fn variables(expr: TokenStream, names: &mut Vec<String>) {
    let mut member = false;
    for token in expr {
        match &token {
            TokenTree::Ident(word) if !member => names.push(word.unraw().to_string()),
            TokenTree::Group(group) => variables(group.stream(), names),
            TokenTree::Literal(literal) => names.extend(words_in_holes(&literal.to_string())),
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
        member = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '.');
    }
}

/// The words in the holes of a text that may be a format.
pub(crate) fn words_in_holes(text: &str) -> Vec<String> {
    let holes = text.split('{').skip(1).map(|hole| hole.split('}').next().unwrap_or_default());
    let is_end = |char: char| !char.is_alphanumeric() && char != '_';
    holes.flat_map(|hole| hole.split(is_end).map(str::to_owned)).collect()
}

/// The variables that a format names: the words before a `$`. A letter by itself is a format.
pub(crate) fn spec_names(spec: &str) -> Vec<String> {
    let mut parts = spec.split('$').collect::<Vec<_>>();
    parts.pop();
    let name = |before: &str| {
        let is_end = |char: char| !char.is_alphanumeric() && char != '_';
        let word = before.rsplit(is_end).next().unwrap_or_default();
        // A zero before it fills.
        word.trim_start_matches(|char: char| char.is_ascii_digit()).to_owned()
    };
    parts.into_iter().map(name).collect()
}

/// Taken as it stands, it would be one key for all.
const NO_TEMPLATE: &str = "behind `key =` stands a value, whose braces mean nothing: \
     write the template by itself, as in `#[lock(\"user_{id}\")]`";

/// C1, as `locks_core::MAX_KEY_LEN`.
const MAX_KEY_LEN: usize = 1024;

impl Lock {
    /// The variables that its keys name.
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for key in &self.keys {
            match key {
                Key::Constant(..) => {}
                Key::Value(value) => variables(value.to_token_stream(), &mut names),
                Key::Template(template) => template.pieces.iter().for_each(|piece| {
                    if let Piece::Hole { expr, spec, .. } = piece {
                        variables(expr.to_token_stream(), &mut names);
                        names.extend(spec.iter().flat_map(|spec| spec_names(spec)));
                    }
                }),
            }
        }
        names
    }

    /// The variables that its keys and options name.
    pub(crate) fn named(&self) -> Vec<String> {
        let mut names = self.names();
        variables(self.options.clone(), &mut names);
        let backend = self.backend.iter().map(|it| it.to_token_stream());
        let otherwise = self.otherwise.iter().map(|it| match it {
            Otherwise::Value(value) | Otherwise::Closure(value) => value.to_token_stream(),
        });
        backend.chain(otherwise).for_each(|tokens| variables(tokens, &mut names));
        names
    }

    /// A name in a hole, or tokens of it, where a name that is no variable comes from our
    /// expansion, as the compiler is told: else it would offer to replace the whole template by the
    /// name that was meant.
    pub(crate) fn placed(&self, tokens: TokenStream) -> TokenStream {
        let Some(variables) = &self.variables else { return tokens };
        let place = |token: TokenTree| match token {
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), self.placed(group.stream()));
                inner.set_span(group.span());
                inner.into()
            }
            TokenTree::Ident(mut word) => {
                let text = word.unraw().to_string();
                if !variables.contains(&text) && text != "self" {
                    word.set_span(word.span().resolved_at(Span::mixed_site()));
                }
                word.into()
            }
            other => other,
        };
        tokens.into_iter().map(place).collect()
    }

    /// The facade's private module, written where `span` shows.
    pub(crate) fn private(&self, span: Span) -> TokenStream {
        match &self.krate {
            Some(path) => quote_spanned!(span=> #path::__private),
            None => quote_spanned!(span=> ::locks::__private),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a1_the_variables_of_a_format() {
        for (spec, names) in [
            ("", ""),
            ("x", ""),
            ("08b", ""),
            ("#?", ""),
            ("w$", "w"),
            (">w$.p$e", "w p"),
            ("x^0wide$x", "wide"),
            ("5.p_1$", "p_1"),
        ] {
            assert_eq!(spec_names(spec).join(" "), names, "{spec}");
        }
    }
}
