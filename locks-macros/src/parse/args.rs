use proc_macro2::{Ident, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Lit, LitStr, Path, Result, Token, token};

use super::Expression;

/// `"key", "key", option, option = value`
pub(crate) struct Args {
    pub(crate) keys: Vec<Key>,
    pub(crate) settings: Vec<Setting>,
    /// Where the arguments end; for errors about what is missing.
    pub(crate) end: proc_macro2::Span,
}

pub(crate) enum Key {
    /// `"refresh_{user.id}"`
    Template(LitStr),
    /// `key = expr`
    Value(Expression),
}

/// `shared` or `wait = false`
pub(crate) struct Setting {
    pub(crate) name: Ident,
    pub(crate) value: Option<Value>,
}

pub(crate) enum Value {
    Expr(Expression),
    /// Of `crate = path`.
    Path(Path),
}

impl Parse for Args {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut args = Self { keys: Vec::new(), settings: Vec::new(), end: input.span() };
        while !at_end(input) {
            args.parse_one(input)?;
            if at_end(input) {
                break;
            }
            if !input.peek(Token![,]) {
                return Err(input.error("expected `,` between keys and options"));
            }
            input.parse::<Token![,]>()?;
        }
        args.end = input.span();
        Ok(args)
    }
}

impl Args {
    /// Those of an attribute, which nothing follows.
    pub(crate) fn parse_all(input: ParseStream<'_>) -> Result<Self> {
        let args = input.parse()?;
        match input.is_empty() {
            true => Ok(args),
            false => Err(input.error(
                "expected `,` or the end: commas separate keys and options, and an option takes its \
                 value by `=`",
            )),
        }
    }

    fn parse_one(&mut self, input: ParseStream<'_>) -> Result<()> {
        if input.peek(Lit) {
            let literal = input.parse()?;
            let Lit::Str(template) = literal else {
                return Err(Error::new(
                    literal.span(),
                    "a key is a string literal such as `\"user_{id}\"`, or `key = expression`",
                ));
            };
            if !template.suffix().is_empty() {
                let why = "a key takes no suffix: drop it; a template with quotes in it is written \
                           `r#\"{map[\"a\"]}\"#`";
                return Err(Error::new(template.span(), why));
            }
            self.keys.push(Key::Template(template));
            return Ok(());
        }
        let named = input.peek(Ident::peek_any)
            && (input.peek2(Token![=]) && !input.peek2(Token![=>]) && !input.peek2(Token![==])
                || input.peek2(Token![,])
                || input.peek2(Token![=>])
                || input.peek2(token::Brace)
                || input.peek2(syn::parse::End));
        if !named {
            return Err(not_an_argument(input));
        }
        let name = input.call(Ident::parse_any)?;
        let value = if input.peek(Token![=]) && !input.peek(Token![=>]) {
            input.parse::<Token![=]>()?;
            if input.is_empty() || input.peek(Token![=>]) || input.peek(Token![,]) {
                return Err(Error::new(name.span(), format!("`{name} =` lacks its value")));
            }
            Some(if name == "crate" {
                Value::Path(input.call(Path::parse_mod_style).map_err(|error| {
                    let takes = "`crate` takes the path of this crate, as in `crate = my_locks`";
                    Error::new(error.span(), takes)
                })?)
            } else {
                Value::Expr(input.parse()?)
            })
        } else {
            None
        };
        match value {
            Some(Value::Expr(value)) if name == "key" => self.keys.push(Key::Value(value)),
            value => self.settings.push(Setting { name, value }),
        }
        Ok(())
    }
}

/// At the end of an attribute's arguments, or where a block's body begins.
fn at_end(input: ParseStream<'_>) -> bool {
    input.is_empty() || input.peek(Token![=>]) || input.peek(token::Brace)
}

/// An expression where a key or an option should be.
fn not_an_argument(input: ParseStream<'_>) -> Error {
    let fork = input.fork();
    let span = input.span();
    let shown = match fork.parse::<TokenTree>() {
        Ok(TokenTree::Ident(name)) if fork.peek(Token![:]) && !fork.peek(Token![::]) => {
            return Error::new(span, format!("an option takes its value by `=`: `{name} = ..`"));
        }
        // `wait(false)`, as other attributes have it, or `wait false`.
        Ok(TokenTree::Ident(name)) if fork.peek(token::Paren) || fork.peek(Lit) => {
            let value =
                fork.parse::<TokenTree>().map_or_else(|_| String::new(), |it| it.to_string());
            let value = value.trim_start_matches('(').trim_end_matches(')').trim();
            return Error::new(span, with_equals(&name.to_string(), value));
        }
        // `wait == false`
        Ok(TokenTree::Ident(name)) if fork.peek(Token![==]) || fork.peek(Token![+=]) => {
            return Error::new(span, format!("an option takes its value by `=`: `{name} = ..`"));
        }
        Ok(TokenTree::Ident(name)) if fork.peek(Token![-]) => match with_hyphens(name, &fork) {
            Ok(name) => {
                let text = format!("options are spelled with underscores: `{name}`");
                return Error::new(span, text);
            }
            Err(name) => neither(&name),
        },
        Ok(token) => neither(&token),
        Err(_) => "expected a key or an option".to_owned(),
    };
    let keys = "a key is a string literal that names what goes in, as in `\"user_{id}\"`, or \
                `key = expression`";
    Error::new(span, format!("{shown}: {keys}"))
}

/// How an option is written whose value stands behind it.
fn with_equals(name: &str, value: &str) -> String {
    match (name, value) {
        ("shared" | "reentrant", _) => format!("`{name}` takes no value: give it by itself"),
        (_, "") => format!("an option without a value stands by itself: `{name}`"),
        // More than one would want to read twice.
        (_, value) if value.len() > 24 || value.contains('\n') => {
            format!("an option takes its value by `=`: `{name} = ..`")
        }
        (_, value) => format!("an option takes its value by `=`: `{name} = {value}`"),
    }
}

fn neither(token: &impl std::fmt::Display) -> String {
    format!("`{token}` is neither a key nor an option")
}

/// `steal-after`, of which the first word has been read, as it should be.
///
/// # Errors
/// The first word, if it begins an expression instead.
fn with_hyphens(first: Ident, rest: ParseStream<'_>) -> std::result::Result<String, Ident> {
    let mut name = first.to_string();
    while rest.parse::<Token![-]>().is_ok() {
        match rest.call(Ident::parse_any) {
            Ok(word) => name.push_str(&format!("_{word}")),
            Err(_) => return Err(first),
        }
    }
    let ends = at_end(rest) || rest.peek(Token![,]) || rest.peek(Token![=]);
    if ends { Ok(name) } else { Err(first) }
}
