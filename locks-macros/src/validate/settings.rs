//! The options of the attribute's table.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Error, Lit, Result, parse_quote};

use super::{Lock, OnLost, Otherwise, duration, suggestion};
use crate::parse::{Expression, Setting, Value};

const OPTIONS: [&str; 20] = [
    "key",
    "wait",
    "steal_after",
    "shared",
    "permits",
    "take",
    "reentrant",
    "fair",
    "lease",
    "hold_at_least",
    "hold_at_most",
    "once_per",
    "label",
    "shared_owner",
    "on_lost",
    "otherwise",
    "guard",
    "backend",
    "kind",
    "crate",
];

/// Options that no request has both of, and why.
const EXCLUSIVE: [(&str, &str, &str); 3] = [
    ("shared", "permits", "a permit is shared with the other permits"),
    (
        "once_per",
        "hold_at_least",
        "the first reserves the key only after a success, the second in any case",
    ),
    (
        "shared",
        "once_per",
        "that one of those who share the key has succeeded says nothing of the others",
    ),
];

/// Whether there is an option by this name.
pub(super) fn is_option(name: &Ident) -> bool {
    OPTIONS.contains(&name.to_string().as_str())
}

/// Puts `settings` into `lock`.
pub(super) fn apply(settings: Vec<Setting>, lock: &mut Lock) -> Result<()> {
    let mut given = Vec::<Ident>::new();
    // `crate` first: the others' code begins with it.
    for setting in &settings {
        if let Some(Value::Path(path)) = &setting.value {
            lock.krate = Some(parse_quote!(#path));
        }
    }
    let take = check_take(&settings);
    let mut errors = None::<Error>;
    let mut wrong = Vec::<Ident>::new();
    let mut lacks_value = false;
    for Setting { name, value } in settings {
        // The value that a comma has cut off, or one that is told of already.
        if lacks_value && !is_option(&name) || wrong.contains(&name) {
            continue;
        }
        let has_none = value.is_none();
        let applied = apply_beside(&given, &name, value, lock);
        lacks_value = has_none && applied.is_err();
        if let Err(error) = applied {
            match &mut errors {
                Some(errors) => errors.combine(error),
                None => errors = Some(error),
            }
            wrong.push(name.clone());
        }
        given.push(name);
    }
    // Of an option that is not what it should be, `take` may say the same in other words.
    errors.map_or(take, Err)
}

/// Applies an option, where others are `given` already.
fn apply_beside(
    given: &[Ident],
    name: &Ident,
    value: Option<Value>,
    lock: &mut Lock,
) -> Result<()> {
    if given.contains(name) {
        return Err(Error::new(name.span(), format!("`{name}` is given twice")));
    }
    for (one, other, why) in EXCLUSIVE {
        let beside = if name == one { other } else { one };
        if (name == one || name == other) && given.iter().any(|earlier| earlier == beside) {
            let why = format!("`{one}` and `{other}` exclude each other: {why}");
            return Err(Error::new(name.span(), why));
        }
    }
    apply_one(name, value, lock)
}

/// No more permits are acquired than there are.
fn check_take(settings: &[Setting]) -> Result<()> {
    let find = |option| settings.iter().find(|setting| setting.name == option);
    let Some(take) = find("take") else { return Ok(()) };
    let Some(permits) = find("permits") else {
        let why = "`take` says how many permits to acquire: say with `permits` how many there are, as in \
                   `permits = 5, take = 2`";
        return Err(Error::new(take.name.span(), why));
    };
    let number = |setting: &Setting| match &setting.value {
        Some(Value::Expr(value)) => match value.literal() {
            Some(Lit::Int(number)) => number.base10_parse::<u32>().ok(),
            _ => None,
        },
        _ => None,
    };
    if let (Some(count), Some(of)) = (number(take), number(permits))
        && count > of
        && of > 0
    {
        let why = format!(
            "`take = {count}` asks for more permits than `permits = {of}` has: take at most {of}, or raise `permits`"
        );
        return Err(Error::new(take.name.span(), why));
    }
    Ok(())
}

fn apply_one(name: &Ident, value: Option<Value>, lock: &mut Lock) -> Result<()> {
    match (name.to_string().as_str(), value) {
        ("shared" | "reentrant", None) => {
            let span = name.span().resolved_at(Span::mixed_site());
            lock.options.extend(quote_spanned!(span=> .#name()));
            lock.plain &= name == "reentrant";
            lock.reentrant |= name == "reentrant";
            Ok(())
        }
        ("shared" | "reentrant", Some(_)) => {
            Err(Error::new(name.span(), format!("`{name}` takes no value: give it by itself")))
        }
        ("crate", Some(Value::Path(_))) => Ok(()),
        (option, Some(Value::Expr(value))) if OPTIONS.contains(&option) => {
            apply_value(name, value, lock)
        }
        (option, _) if OPTIONS.contains(&option) => {
            let example = example(option);
            Err(Error::new(name.span(), format!("`{option}` needs a value: `{example}`")))
        }
        (unknown, value) => Err(Error::new(name.span(), self::unknown(unknown, value.is_none()))),
    }
}

fn apply_value(name: &Ident, value: Expression, lock: &mut Lock) -> Result<()> {
    let option = name.to_string();
    if !matches!(option.as_str(), "otherwise" | "guard" | "kind" | "on_lost")
        && let Some(span) = value.leaves()
    {
        return Err(Error::new(
            span,
            format!(
                "`{option}` is computed where the lock is asked for, which neither `?` nor `.await` can leave: \
                 do that before, and name the variable, parameter or static that has the value"
            ),
        ));
    }
    let call = match option.as_str() {
        "wait" => return wait(value, lock),
        "label" => {
            lock.plain = false;
            match value.literal() {
                Some(Lit::Str(text)) if text.value().contains('{') => {
                    let why = "a label is a text, whose braces mean nothing: \
                               `label = format!(\"order {id}\")`";
                    return Err(Error::new(text.span(), why));
                }
                Some(Lit::Str(_)) | None => computed(&value),
                Some(other) => return Err(ill_typed(&option, &other)),
            }
        }
        "shared_owner" => {
            lock.plain = false;
            match value.literal() {
                None => computed(&value),
                Some(literal) => return Err(ill_typed(&option, &literal)),
            }
        }
        "steal_after" | "lease" | "hold_at_least" | "hold_at_most" | "once_per" => {
            lock.plain &= !option.starts_with("hold_") && option != "once_per";
            lock.marks_done |= option == "once_per";
            match value.literal() {
                Some(literal) => duration_of(&option, &literal, lock)?,
                None => computed(&value),
            }
        }
        "permits" | "take" => {
            lock.plain = false;
            count(&option, &value)?
        }
        "fair" => match value.literal() {
            Some(Lit::Bool(_)) | None => computed(&value),
            Some(other) => return Err(ill_typed(&option, &other)),
        },
        "backend" => {
            if let Some(literal) = value.literal() {
                return Err(ill_typed(&option, &literal));
            }
            lock.backend = Some(value);
            lock.plain = false;
            return Ok(());
        }
        "otherwise" => {
            let closure = value.is_closure();
            if closure && !value.closes_its_parameters() {
                return Err(Error::new(
                    value.span(),
                    "the parameters of this closure are not closed: write `|error| value`",
                ));
            }
            if closure && value.is_async() {
                let why = "nobody would await this closure: write `|error| value`";
                return Err(Error::new(value.span(), why));
            }
            if closure && value.closure_parameters() != 1 {
                return Err(Error::new(
                    value.span(),
                    "`otherwise` takes a closure of one parameter, the error: write `|error| value`",
                ));
            }
            lock.otherwise =
                Some(if closure { Otherwise::Closure(value) } else { Otherwise::Value(value) });
            return Ok(());
        }
        "guard" => {
            lock.guard = Some(guard(&value)?);
            return Ok(());
        }
        "kind" => {
            lock.weak = word(&option, &value, &["strong", "weak"])? == "weak";
            return Ok(());
        }
        "on_lost" => {
            let allowed = ["continue", "error", "cancel"];
            lock.on_lost = match word(&option, &value, &allowed)?.as_str() {
                "error" => OnLost::Error,
                "cancel" => OnLost::Cancel(value.span()),
                _ => OnLost::Continue,
            };
            return Ok(());
        }
        _ => unreachable!("`OPTIONS` has no other options with values"),
    };
    push(name, &value, &call, lock);
    Ok(())
}

/// A call on the builder whose errors of type are shown at the value.
fn push(name: &Ident, value: &Expression, argument: &TokenStream, lock: &mut Lock) {
    lock.fixed &= value.literal().is_some();
    let span = value.span().resolved_at(Span::mixed_site());
    let method = format_ident!("{name}", span = span);
    lock.options.extend(quote_spanned!(span=> .#method(#argument)));
}

fn wait(value: Expression, lock: &mut Lock) -> Result<()> {
    let argument = match value.literal() {
        Some(Lit::Bool(forever)) => {
            lock.may_be_contended = !forever.value;
            computed(&value)
        }
        Some(literal) => {
            lock.may_be_contended = true;
            duration_of("wait", &literal, lock)?
        }
        None => {
            lock.may_be_contended = true;
            computed(&value)
        }
    };
    push(&Ident::new("wait", value.span()), &value, &argument, lock);
    Ok(())
}

fn duration_of(option: &str, literal: &Lit, lock: &Lock) -> Result<TokenStream> {
    let Lit::Str(literal) = literal else { return Err(ill_typed(option, literal)) };
    if let ("wait", word @ ("true" | "false")) = (option, literal.value().as_str()) {
        let text = format!("`{word}` takes no quotes: `wait = {word}`");
        return Err(Error::new(literal.span(), text));
    }
    let duration = duration::parse(literal)?;
    if option == "hold_at_most" && duration.is_zero() {
        let text = "`hold_at_most` of no time would end the hold as it begins: give it some, or leave it out";
        return Err(Error::new(literal.span(), text));
    }
    let (secs, nanos) = (duration.as_secs(), duration.subsec_nanos());
    let span = literal.span().resolved_at(Span::mixed_site());
    let private = lock.private(span);
    Ok(quote_spanned!(span=> #private::Duration::new(#secs, #nanos)))
}

fn count(option: &str, value: &Expression) -> Result<TokenStream> {
    let takes = |span| Error::new(span, takes_a_count(option));
    let number = match value.literal() {
        Some(Lit::Int(number)) => number,
        None if !value.is_negative() => return Ok(computed(value)),
        Some(other) if !value.is_negative() => return Err(ill_typed(option, &other)),
        _ => return Err(takes(value.span())),
    };
    if value.is_negative() || !matches!(number.suffix(), "" | "u32") {
        return Err(takes(value.span()));
    }
    match number.base10_parse::<u32>() {
        Ok(0) => {
            let would = if option == "permits" { "let nobody in" } else { "acquire nothing" };
            let none = format!("`{option} = 0` would {would}: give at least 1");
            Err(Error::new(number.span(), none))
        }
        Ok(_) => Ok(computed(value)),
        Err(_) => Err(takes(number.span())),
    }
}

fn takes_a_count(option: &str) -> String {
    format!("`{option}` takes a whole number from 1 to 4294967295, or an expression of type `u32`")
}

fn guard(value: &Expression) -> Result<Ident> {
    value.name().ok_or_else(|| {
        Error::new(value.span(), "`guard` takes the name of a new variable: `guard = lock`")
    })
}

fn word(option: &str, value: &Expression, allowed: &[&str]) -> Result<String> {
    if let Some(Lit::Str(text)) = value.literal()
        && allowed.contains(&text.value().as_str())
    {
        return Ok(text.value());
    }
    let allowed = allowed.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>();
    let (last, others) = allowed.split_last().expect("every such option has words");
    let list = format!("{} or {last}", others.join(", "));
    Err(Error::new(value.span(), format!("`{option}` takes {list}")))
}

fn ill_typed(option: &str, literal: &Lit) -> Error {
    let takes = match option {
        "wait" => "`true`, `false`, a duration such as `\"2s\"` or an expression of either type",
        "permits" | "take" => return Error::new(literal.span(), takes_a_count(option)),
        "label" => "a text or an expression of type `&str`, `String` or `Arc<str>`",
        "shared_owner" => "an expression of type `SharedOwner` or `Option<SharedOwner>`",
        "fair" => "`true`, `false` or an expression of type `bool`",
        "backend" => {
            "an expression of type `Backend`, owned or borrowed, such as a static that keeps what \
             `locks::open(url)` has opened"
        }
        _ => "a duration such as `\"5s\"` or an expression of type `Duration`",
    };
    Error::new(literal.span(), format!("`{option}` takes {takes}"))
}

fn unknown(name: &str, alone: bool) -> String {
    let mut text = format!("there is no option `{name}`");
    if let Some(known) = elsewhere(name).or_else(|| suggestion::closest(name, &OPTIONS)) {
        text.push_str(&format!(": did you mean `{known}`?"));
        return text;
    }
    let list = OPTIONS.map(|option| format!("`{option}`")).join(", ");
    text.push_str(&format!("; the options are {list}"));
    if alone {
        text.push_str(&format!(". If it is the key, write `\"{{{name}}}\"` or `key = {name}`"));
    }
    text
}

/// The option that goes by `name` in other libraries, or in the call that does what it would do.
fn elsewhere(name: &str) -> Option<&'static str> {
    Some(match name {
        "timeout" | "block" | "blocking" => "wait",
        "try" | "try_lock" | "nowait" | "no_wait" | "nonblocking" | "non_blocking" | "skip" => {
            "wait = false"
        }
        "read" | "reader" => "shared",
        "name" => "key",
        "ttl" | "expires" | "expire" => "lease",
        "default" | "fallback" | "or_else" => "otherwise",
        "max" | "concurrency" => "permits",
        "acquire_many" | "weight" | "count" => "take",
        "steal" | "stale_after" | "takeover" | "take_over" => "steal_after",
        "recursive" => "reentrant",
        "owner" => "shared_owner",
        _ => return None,
    })
}

fn example(option: &str) -> &'static str {
    match option {
        "key" => "key = user.id",
        "wait" => "wait = false",
        "steal_after" => "steal_after = \"5s\"",
        "permits" => "permits = 5",
        "take" => "take = 2",
        "fair" => "fair = true",
        "lease" => "lease = \"30s\"",
        "hold_at_least" => "hold_at_least = \"1m\"",
        "hold_at_most" => "hold_at_most = \"10m\"",
        "once_per" => "once_per = \"24h\"",
        "label" => "label = format!(\"order {id}\")",
        "shared_owner" => "shared_owner = *OWNER",
        "on_lost" => "on_lost = \"error\"",
        "otherwise" => "otherwise = 0",
        "guard" => "guard = lock",
        "backend" => "backend = &BACKEND",
        "kind" => "kind = \"weak\"",
        _ => "crate = my_locks",
    }
}

fn computed(value: &Expression) -> TokenStream {
    value.to_token_stream()
}
