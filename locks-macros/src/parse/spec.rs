//! What stands behind the colon of a hole: the format, as `format!` has it.

use std::iter::Peekable;
use std::str::Chars;

/// Checks the format `spec` of a hole, so that nothing is left of it for the compiler to find fault
/// with: what that shows would be a place in the text that we make of the template, not in the
/// template.
///
/// Returns the least number of bytes that a value takes by it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(spec: &str) -> Result<usize, String> {
    if spec.contains('\0') {
        return Err("a key cannot contain a NUL byte".into());
    }
    if spec.contains(".*") {
        return Err("`.*` takes two arguments, and a hole has one: name the precision, \
                    as in `{x:.digits$}`"
            .into());
    }
    let mut chars = spec.trim_end().chars().peekable();
    let mut ahead = chars.clone();
    ahead.next();
    let is_align = |char: Option<&char>| matches!(char, Some('<' | '^' | '>'));
    // A fill stands before its alignment.
    if is_align(ahead.peek()) {
        chars.next();
    }
    if is_align(chars.peek()) {
        chars.next();
    }
    let _ = chars.next_if(|&sign| sign == '+' || sign == '-');
    let _ = chars.next_if_eq(&'#');
    // Of a width by position: `0$`.
    if !matches!(chars.clone().nth(1), Some('$')) {
        let _ = chars.next_if_eq(&'0');
    }
    let width = count(&mut chars)?;
    if chars.next_if_eq(&'.').is_some() {
        count(&mut chars)?;
    }
    let kind = chars.collect::<String>();
    match kind.as_str() {
        "" | "?" | "x?" | "X?" | "x" | "X" | "o" | "b" | "e" | "E" | "p" => Ok(width),
        _ => Err(format!(
            "`{kind}` is no format: write `{{x}}`, `{{x:?}}`, or one of `x`, `X`, `o`, `b`, `e`, `E` and `p` \
             behind the colon; width, fill and precision are written as in `{{x:0>8.3}}`"
        )),
    }
}

/// A width or a precision: a number, or the name of what has it. Returns the number.
fn count(chars: &mut Peekable<Chars<'_>>) -> Result<usize, String> {
    let mut ahead = chars.clone();
    let mut word = String::new();
    while let Some(char) = ahead.next_if(|char| char.is_alphanumeric() || *char == '_') {
        word.push(char);
    }
    let named = !word.is_empty() && ahead.next_if_eq(&'$').is_some();
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    if named && digits == word.len() {
        return Err(format!(
            "`{word}$` refers to an argument by its position, and a key has none: name it"
        ));
    }
    if named {
        *chars = ahead;
        return if syn::parse_str::<syn::Ident>(&word).is_ok() {
            Ok(0)
        } else {
            Err(format!("`{word}` is no name: name the variable that has the number"))
        };
    }
    for _ in 0..digits {
        chars.next();
    }
    // As `format!`, which has no room for more.
    match &word[..digits] {
        "" => Ok(0),
        number => number
            .parse::<u16>()
            .map(usize::from)
            .map_err(|_| format!("`{number}` is too large for a width or a precision")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a1_knows_the_formats_of_format() {
        for (spec, width) in [
            ("", 0),
            ("?", 0),
            ("#?", 0),
            ("x?", 0),
            ("08", 8),
            ("+#010x", 10),
            (">5", 5),
            ("é^7", 7),
            ("}<3", 3),
            ("0>4", 4),
            ("w$", 0),
            ("0w$", 0),
            (">w$.p$?", 0),
            (".3", 0),
            ("é$.é$", 0),
            ("5 ", 5),
            ("e", 0),
            ("<", 0),
            ("#", 0),
        ] {
            assert_eq!(check(spec), Ok(width), "{spec}");
        }
        for spec in [
            "zz", "5d", "x ?", "1$", "0$", ".2$", ".*", "?x", " 5", "ö", "3.", "99999", "\0>5",
            "if$",
        ] {
            let wrong = check(spec).is_err();
            assert_eq!(wrong, spec != "3.", "{spec}");
        }
    }
}
