//! The acquisition: which key, at which site, with which options.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};

use super::at;
use crate::parse::{Piece, Template};
use crate::validate::{Key, Lock, spec_names};

/// Who asks.
pub(super) enum Asker<'a> {
    /// A function, by its name.
    Function(&'a str),
    /// A block.
    Block,
}

/// How the acquisition goes on.
pub(super) enum Way {
    /// `acquire`: to a `Result`, on this thread.
    Blocking,
    /// `ask`, `ask_with`: to be gone on with, in a scope of its own.
    Scoped,
    /// `ask_here`: to a future, anonymously.
    Anonymous,
}

/// An expression that acquires `lock`, or begins to.
///
/// ```text
/// // Input: "user_{user.id}", wait = false
/// // Output:
/// {
///     static SITE: Site<FunctionSite> = Site::new(FunctionSite::new("module::function"));
///     &SITE
/// }.acquire(format_args!("user_{0}", user.id), |__lock| __lock.wait(false))
/// ```
pub(super) fn acquire(lock: &Lock, asker: &Asker<'_>, way: &Way) -> TokenStream {
    let span = Span::mixed_site();
    let private = lock.private(span);
    let (place, new_place) = match asker {
        Asker::Function(name) => {
            let name = format!("::{name}");
            (
                quote_spanned!(span=> #private::FunctionSite),
                quote_spanned!(span=> #private::FunctionSite::new(
                    #private::concat!(#private::module_path!(), #name)
                )),
            )
        }
        Asker::Block => {
            (quote_spanned!(span=> #private::Here), quote_spanned!(span=> #private::Here::new()))
        }
    };
    // To be refused, also where the key is free (C9).
    let refused = lock.reentrant && matches!(way, Way::Anonymous);
    let (site, key) = match lock.keys.as_slice() {
        [Key::Constant(key, _)] if lock.plain && !refused => {
            let kind = if lock.weak { quote!(Weak) } else { quote!(Strong) };
            let site = quote_spanned!(span=> {
                static SITE: #private::Pinned<#place> =
                    #private::Pinned::new(#new_place, #key, #private::Kind::#kind);
                &SITE
            });
            (site, None)
        }
        keys => {
            let site = quote_spanned!(span=> {
                static SITE: #private::Site<#place> = #private::Site::new(#new_place);
                &SITE
            });
            (site, Some(self::key(keys, lock)))
        }
    };
    let options = options(lock);
    let key = key.into_iter();
    let method = match way {
        Way::Blocking => quote_spanned!(span=> acquire),
        // Monomorphic, for the compiler has an easier time with that.
        Way::Scoped if lock.backend.is_none() && lock.fixed => quote_spanned!(span=> ask),
        Way::Scoped => quote_spanned!(span=> ask_with),
        Way::Anonymous => quote_spanned!(span=> ask_here),
    };
    quote_spanned!(span=> #site.#method(#(#key,)* #options))
}

/// The outcome of what [`acquire`] has left in `__begun`. Only what has to wait becomes a part of
/// the future; the key's temporaries never do.
pub(super) fn outcome(lock: &Lock, way: &Way) -> TokenStream {
    let span = Span::mixed_site();
    let private = lock.private(span);
    match way {
        Way::Blocking => quote_spanned!(span=> __begun),
        Way::Scoped | Way::Anonymous => quote_spanned!(span=>
            match __begun {
                #private::Acquisition::Granted(__guard) => #private::Ok(__guard),
                #private::Acquisition::Asked(__acquire) => __acquire.await,
            }
        ),
    }
}

fn options(lock: &Lock) -> TokenStream {
    let span = Span::mixed_site();
    let private = lock.private(span);
    let calls = &lock.options;
    let weak = lock.weak.then(|| quote_spanned!(span=> .kind(#private::Kind::Weak)));
    if lock.backend.is_none() && calls.is_empty() && weak.is_none() {
        return quote_spanned!(span=> #private::plain);
    }
    let configured = quote_spanned!(span=> __lock #calls #weak);
    match &lock.backend {
        Some(backend) => {
            let span = at(backend);
            let private = lock.private(span);
            quote_spanned!(span=> |__lock| #private::on(#configured, #backend))
        }
        None if lock.fixed => quote_spanned!(span=> #private::fixed(|__lock| #configured)),
        None => quote_spanned!(span=> |__lock| #configured),
    }
}

fn key(keys: &[Key], lock: &Lock) -> TokenStream {
    match keys {
        [Key::Constant(key, _)] => quote!(#key),
        [key] => arguments(key, lock),
        keys => {
            let keys = keys.iter().map(|key| arguments(key, lock));
            quote!([#(#keys),*])
        }
    }
}

/// A key as `fmt::Arguments`.
fn arguments(key: &Key, lock: &Lock) -> TokenStream {
    match key {
        Key::Constant(key, literal) => {
            let span = at(literal);
            let private = lock.private(span);
            let text = spelled(&escaped(key), literal.span());
            quote_spanned!(span=> #private::format_args!(#text))
        }
        Key::Template(template) => filled(template, lock),
        Key::Value(value) => {
            let span = at(value);
            let private = lock.private(span);
            quote_spanned!(span=> #private::format_args!("{}", #value))
        }
    }
}

/// Where every hole is a name, the user's own literal goes to `format_args!`, and the compiler
/// underlines inside of it. Else the holes become numbered arguments.
fn filled(template: &Template, lock: &Lock) -> TokenStream {
    let span = at(&template.literal);
    let private = lock.private(span);
    let literal = &template.literal;
    if template.is_format() {
        return quote_spanned!(span=> #private::format_args!(#literal));
    }
    let mut text = String::new();
    let mut values = Vec::new();
    let mut named = Vec::new();
    for piece in &template.pieces {
        match piece {
            Piece::Text(plain) => text.push_str(&escaped(plain)),
            Piece::Hole { expr, spec, .. } => {
                let colon = if spec.is_some() { ":" } else { "" };
                let spec = spec.as_deref().unwrap_or_default();
                text.push_str(&format!("{{{}{colon}{spec}}}", values.len()));
                values.push(lock.placed(expr.to_token_stream()));
                named.extend(spec_names(spec));
            }
        }
    }
    let text = spelled(&text, literal.span());
    named.sort();
    named.dedup();
    let named = named.iter().filter(|name| !name.is_empty()).map(|name| {
        // Raw, as it may be a keyword of the edition that the template is in.
        let value = Ident::new_raw(name, literal.span());
        let value = lock.placed(value.into_token_stream());
        let name = Ident::new(name, span);
        quote_spanned!(span=> #name = #value)
    });
    let values = values.into_iter().chain(named);
    quote_spanned!(span=> #private::format_args!(#text, #(#values),*))
}

fn escaped(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

/// A literal with a place of its own.
fn spelled(text: &str, span: Span) -> Literal {
    let mut literal = Literal::string(text);
    literal.set_span(span);
    literal
}
