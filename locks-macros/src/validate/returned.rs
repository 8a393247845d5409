//! What a function returns, as far as its signature tells.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::spanned::Spanned as _;
use syn::{
    GenericArgument, Path, PathArguments, PathSegment, ReturnType, Type, TypeParamBound,
    parse_quote,
};

/// A return type, by what an expansion can say about it.
pub(crate) enum Returned {
    /// It can be written down elsewhere.
    Named(Box<Type>),
    /// It contains `impl Trait`, here as `_`.
    Partly(Box<Type>, Known),
    /// `impl Trait`
    Opaque(Span),
    /// `!`
    Never(Span),
}

/// What the name of a type tells of how it says that the body did not run.
#[derive(Clone, Copy)]
pub(crate) enum Known {
    /// It is a `Result`, an `Option` or `()`.
    EarlyReturn,
    /// It is a name, which may be an alias of one of them: the compiler knows.
    ByName,
    /// It is something else, or behind something of which the compiler knows too little to be
    /// asked.
    Nothing,
}

impl Known {
    /// What is known of a type without an `impl Trait` in it.
    pub(crate) fn of(ty: &Type) -> Self {
        match peeled(ty) {
            Type::Tuple(tuple) if tuple.elems.is_empty() => Self::EarlyReturn,
            Type::Tuple(_) | Type::Reference(_) | Type::Array(_) => Self::Nothing,
            Type::Path(path) if path.qself.is_none() => Self::of_path(&path.path),
            _ => Self::ByName,
        }
    }

    fn of_path(path: &Path) -> Self {
        let Some(last) = path.segments.last() else { return Self::ByName };
        let name = last.ident.to_string();
        let arguments = match &last.arguments {
            PathArguments::AngleBracketed(args) => args.args.len(),
            _ => 0,
        };
        match (name.as_str(), arguments) {
            // Somebody's own may be by that name, but hardly with as many arguments.
            ("Result", 2) | ("Option", 1) => Self::EarlyReturn,
            ("String", 0) | ("Vec", 1) => Self::Nothing,
            (name, 0) if is_primitive(name) => Self::Nothing,
            _ => Self::ByName,
        }
    }
}

/// Whether this is the name of a number's type, or of `bool` or `char`.
pub(crate) fn is_primitive(name: &str) -> bool {
    let names = [
        "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize",
        "bool", "char", "f32", "f64",
    ];
    names.contains(&name)
}

impl Returned {
    /// What `output` says. For the span of `()` where nothing is written: that of the name.
    pub(crate) fn new(output: &ReturnType, name: Span) -> Self {
        match output {
            ReturnType::Default => {
                let mut unit: Type = parse_quote!(());
                if let Type::Tuple(tuple) = &mut unit {
                    tuple.paren_token = syn::token::Paren(name);
                }
                Self::Named(Box::new(unit))
            }
            ReturnType::Type(_, ty) => Self::of(ty),
        }
    }

    pub(crate) fn of(ty: &Type) -> Self {
        let ty = peeled(ty);
        match ty {
            Type::Never(never) => return Self::Never(never.span()),
            Type::ImplTrait(opaque) => return Self::Opaque(opaque.span()),
            // Nothing can return these, as the compiler says; it need not say so of the expansion
            // as well.
            _ if is_impossible(ty) => return Self::Opaque(ty.span()),
            // As somebody wrote it who knows more of types than we do.
            Type::Verbatim(tokens) if names_impl(tokens.clone()) => {
                return Self::Partly(Box::new(parse_quote!(_)), Known::EarlyReturn);
            }
            Type::Verbatim(tokens) => {
                return Self::Named(Box::new(Type::Verbatim(tokens.clone())));
            }
            _ => {}
        }
        // Not cloned: that all of `syn` can be is a tenth of the time that it takes to compile.
        let mut known = syn::parse2(elided(ty.to_token_stream()))
            .or_else(|_| syn::parse2(ty.to_token_stream()))
            .expect("what was parsed as a type is one");
        if !forget_impl(&mut known) {
            return Self::Named(Box::new(known));
        }
        let is_known = match ty {
            Type::Path(path) => match path.path.segments.last() {
                Some(last) if last.ident == "Result" || last.ident == "Option" => {
                    Known::EarlyReturn
                }
                // Of an associated type with `_` in it, not even its kind is known.
                Some(_) if path.qself.is_none() && path.path.segments[0].ident != "Self" => {
                    Known::ByName
                }
                _ => Known::Nothing,
            },
            _ => Known::Nothing,
        };
        Self::Partly(Box::new(known), is_known)
    }

    /// Where to show errors about it.
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Named(ty) | Self::Partly(ty, _) => ty.span(),
            Self::Opaque(span) | Self::Never(span) => *span,
        }
    }

    /// Whether it is a type parameter among `params`, of which nothing is known.
    pub(crate) fn is_one_of(&self, params: &[proc_macro2::Ident]) -> bool {
        let Self::Named(ty) = self else { return false };
        let Type::Path(path) = peeled(ty) else { return false };
        path.qself.is_none() && path.path.get_ident().is_some_and(|name| params.contains(name))
    }

    /// Whether its name may be that of a type parameter, or of a type that belongs to one: of an
    /// `impl` or a trait around, of which an attribute sees nothing.
    pub(crate) fn may_be_a_parameter(&self) -> bool {
        let Self::Named(ty) = self else { return false };
        let Type::Path(path) = peeled(ty) else { return false };
        path.path.segments.last().is_some_and(|last| {
            last.arguments.is_none() && last.ident.to_string().starts_with(char::is_uppercase)
        })
    }

    /// Whether it is a future for all that its name tells.
    pub(crate) fn may_be_future(&self) -> bool {
        matches!(self, Self::Named(ty) if may_be_future(ty) && !is_qualified(ty))
            && !self.has_begun()
    }

    /// Whether its name says that it waits for what runs already, with the lock or without, or for
    /// nothing.
    pub(crate) fn has_begun(&self) -> bool {
        let Self::Named(ty) = self else { return false };
        let Type::Path(path) = peeled(ty) else { return false };
        let last = path.path.segments.last();
        last.is_some_and(|last| {
            ["JoinHandle", "Ready", "Receiver"].iter().any(|it| last.ident == it)
        })
    }

    /// The type as an annotation inside the function.
    pub(crate) fn annotation(&self) -> Option<&Type> {
        match self {
            Self::Named(ty) | Self::Partly(ty, _) => Some(ty),
            Self::Opaque(_) | Self::Never(_) => None,
        }
    }
}

/// The `Output` of the future that `ty` is, if it says that it is one: itself `None` where that is
/// not written.
pub(super) fn future_output(ty: &Type) -> Option<Option<&Type>> {
    let bounds = match peeled(ty) {
        Type::ImplTrait(opaque) => &opaque.bounds,
        Type::TraitObject(object) => &object.bounds,
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            let PathArguments::AngleBracketed(args) = &last.arguments else { return None };
            let mut types = args.args.iter().filter_map(|arg| match arg {
                GenericArgument::Type(ty) => Some(ty),
                _ => None,
            });
            return match last.ident.to_string().as_str() {
                "Pin" | "Box" => future_output(types.next()?),
                "BoxFuture" | "LocalBoxFuture" => types.next_back().map(Some),
                _ => None,
            };
        }
        _ => return None,
    };
    bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else { return None };
        let last = bound.path.segments.last().filter(|last| last.ident == "Future")?;
        let PathArguments::AngleBracketed(args) = &last.arguments else { return Some(None) };
        Some(args.args.iter().find_map(|arg| match arg {
            GenericArgument::AssocType(assoc) if assoc.ident == "Output" => Some(&assoc.ty),
            _ => None,
        }))
    })
}

/// What a value of type `ty` contains that does its work only once the function has returned, if
/// its name tells: a future or a stream in a `Result`, an `Option`, a tuple, …
pub(super) fn lazy(ty: &Type) -> Option<(&'static str, Span)> {
    let bounds = match ty {
        Type::Group(inner) => return lazy(&inner.elem),
        Type::Paren(inner) => return lazy(&inner.elem),
        Type::Reference(inner) => return lazy(&inner.elem),
        Type::Array(inner) => return lazy(&inner.elem),
        Type::Tuple(tuple) => return tuple.elems.iter().find_map(lazy),
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            let what = match last.ident.to_string().as_str() {
                "BoxFuture" | "LocalBoxFuture" => Some("future"),
                "BoxStream" | "LocalBoxStream" => Some("stream"),
                _ => None,
            };
            if let Some(what) = what {
                return Some((what, ty.span()));
            }
            let PathArguments::AngleBracketed(args) = &last.arguments else { return None };
            return args.args.iter().find_map(|arg| match arg {
                GenericArgument::Type(ty) => lazy(ty),
                _ => None,
            });
        }
        Type::ImplTrait(opaque) => &opaque.bounds,
        Type::TraitObject(object) => &object.bounds,
        _ => return None,
    };
    bounds.iter().find_map(|bound| match bound {
        TypeParamBound::Trait(bound) => Some((lazy_trait(bound.path.segments.last()?)?, ty.span())),
        _ => None,
    })
}

/// What this trait runs. A stream says what it yields; others are by that name too, such as of what
/// reads and writes.
fn lazy_trait(segment: &PathSegment) -> Option<&'static str> {
    let yields = |name: &str| match &segment.arguments {
        PathArguments::AngleBracketed(args) => args.args.iter().any(
            |argument| matches!(argument, GenericArgument::AssocType(assoc) if assoc.ident == name),
        ),
        _ => false,
    };
    match segment.ident.to_string().as_str() {
        "Future" | "IntoFuture" | "TryFuture" => Some("future"),
        "Stream" if yields("Item") => Some("stream"),
        "TryStream" if yields("Ok") => Some("stream"),
        "AsyncIterator" => Some("stream"),
        _ => None,
    }
}

/// Whether `ty` is a future for all that its name tells: an alias, an associated type,
/// `impl Trait`.
pub(super) fn may_be_future(ty: &Type) -> bool {
    match peeled(ty) {
        Type::ImplTrait(_) => true,
        Type::Path(path) => path.path.segments.last().is_some_and(|last| {
            let name = last.ident.to_string();
            name.starts_with(char::is_uppercase)
                && !matches!(name.as_str(), "Option" | "Result" | "String" | "Vec")
        }),
        _ => false,
    }
}

/// Whether `ty` is written as `<A as B>::C`, of which the compiler would tell once more.
fn is_qualified(ty: &Type) -> bool {
    matches!(peeled(ty), Type::Path(path) if path.qself.is_some())
}

/// Whether `ty` is one that no function returns: it has no size, or is not said.
pub(super) fn is_impossible(ty: &Type) -> bool {
    has_no_size(ty) || leaves_out(ty.to_token_stream())
}

fn has_no_size(ty: &Type) -> bool {
    match peeled(ty) {
        Type::Slice(_) | Type::TraitObject(_) => true,
        Type::Tuple(tuple) => tuple.elems.last().is_some_and(has_no_size),
        Type::Path(path) => path.qself.is_none() && path.path.is_ident("str"),
        _ => false,
    }
}

/// Whether there is a `_` in the tokens of a type. Of a lifetime it may be the name, and to a macro
/// anything.
fn leaves_out(tokens: TokenStream) -> bool {
    let mut before = ' ';
    tokens.into_iter().any(|token| {
        let behind = std::mem::replace(&mut before, ' ');
        match token {
            TokenTree::Punct(punct) => {
                before = punct.as_char();
                false
            }
            TokenTree::Ident(word) => word == "_" && behind != '\'',
            TokenTree::Group(group) => {
                behind != '!' && group.delimiter() != Delimiter::Brace && leaves_out(group.stream())
            }
            TokenTree::Literal(_) => false,
        }
    })
}

/// Types from `macro_rules!` come wrapped.
fn peeled(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => peeled(&group.elem),
        Type::Paren(paren) => peeled(&paren.elem),
        other => other,
    }
}

/// A type with `'_` for its lifetimes, as it can be written in a body: a lifetime that a body names
/// is needed, and nobody would be told any more that it is not.
fn elided(tokens: TokenStream) -> TokenStream {
    // There it would mean something else.
    if binds(tokens.clone()) {
        return tokens;
    }
    let (mut in_lifetime, mut in_length) = (false, false);
    let elide = |token: TokenTree| {
        // In the length of an array, and in braces, it would be a label.
        in_length |= matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ';');
        if in_length {
            return token;
        }
        let is_lifetime = std::mem::replace(
            &mut in_lifetime,
            matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '\''),
        );
        match token {
            TokenTree::Ident(name) if is_lifetime && name != "static" => {
                proc_macro2::Ident::new("_", name.span()).into()
            }
            TokenTree::Group(group) if group.delimiter() != Delimiter::Brace => {
                let mut inner = proc_macro2::Group::new(group.delimiter(), elided(group.stream()));
                inner.set_span(group.span());
                inner.into()
            }
            other => other,
        }
    };
    tokens.into_iter().map(elide).collect()
}

/// Whether there is a `for<'a>` or a function's type in the tokens of a type.
fn binds(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(word) => {
            ["for", "fn", "Fn", "FnMut", "FnOnce"].iter().any(|it| word == it)
        }
        TokenTree::Group(group) => binds(group.stream()),
        _ => false,
    })
}

/// Whether there is an `impl Trait` in the tokens of a type.
fn names_impl(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(word) => word == "impl",
        TokenTree::Group(group) => names_impl(group.stream()),
        _ => false,
    })
}

/// Puts `_` for every `impl Trait` in `ty`; whether there was one.
fn forget_impl(ty: &mut Type) -> bool {
    match ty {
        Type::ImplTrait(_) => {
            *ty = parse_quote!(_);
            true
        }
        Type::Group(inner) => forget_impl(&mut inner.elem),
        Type::Paren(inner) => forget_impl(&mut inner.elem),
        Type::Reference(inner) => forget_impl(&mut inner.elem),
        Type::Array(inner) => forget_impl(&mut inner.elem),
        Type::Slice(inner) => forget_impl(&mut inner.elem),
        Type::Tuple(tuple) => {
            tuple.elems.iter_mut().fold(false, |any, element| forget_impl(element) | any)
        }
        Type::Ptr(inner) => forget_impl(&mut inner.elem),
        Type::Path(path) => forget_in(&mut path.path),
        Type::TraitObject(object) => {
            object.bounds.iter_mut().fold(false, |any, bound| match bound {
                TypeParamBound::Trait(bound) => forget_in(&mut bound.path) | any,
                _ => any,
            })
        }
        _ => false,
    }
}

/// The same for the arguments of `path`.
fn forget_in(path: &mut Path) -> bool {
    let arguments = path.segments.iter_mut().filter_map(|segment| match &mut segment.arguments {
        PathArguments::AngleBracketed(args) => Some(&mut args.args),
        _ => None,
    });
    arguments.flatten().fold(false, |any, argument| match argument {
        GenericArgument::Type(ty) => forget_impl(ty) | any,
        GenericArgument::AssocType(assoc) => forget_impl(&mut assoc.ty) | any,
        _ => any,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a5_a_type_that_nothing_returns() {
        for (ty, impossible) in [
            ("str", true),
            ("[u8]", true),
            ("(u8, [u8])", true),
            ("dyn Debug", true),
            ("_", true),
            ("Option<(u8, _)>", true),
            ("&str", false),
            ("m::str", false),
            ("A<'_>", false),
            ("(u8, A<'_>)", false),
            ("mine!(_)", false),
            ("Box<dyn Debug>", false),
        ] {
            assert_eq!(is_impossible(&syn::parse_str(ty).unwrap()), impossible, "{ty}");
        }
    }

    #[test]
    fn a4_a_label_is_no_lifetime() {
        for (ty, shown) in [
            ("&'a [u8; 3]", "&'_[u8;3]"),
            ("A<'a, 'static, &'b u8>", "A<'_,'static,&'_u8>"),
            ("&'a [u8; 'b: { break 'b 3 }]", "&'_[u8;'b:{break'b3}]"),
            ("A<'a, { 'b: { break 'b 3 } }>", "A<'_,{'b:{break'b3}}>"),
            ("for<'a> fn(&'a u8)", "for<'a>fn(&'au8)"),
        ] {
            let elided = elided(ty.parse().unwrap()).to_string();
            assert_eq!(elided.replace(' ', ""), shown, "{ty}");
        }
    }
}
