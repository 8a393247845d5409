//! What everybody forgets once: the `--` before the command.

use std::ffi::OsString;

use clap::error::ErrorKind;

use crate::quoted::quoted;

/// Options of `locks run` whose value is a word of its own.
const WITH_VALUE: &[&str] = &[
    "-w",
    "-E",
    "--timeout",
    "--permits",
    "--steal-after",
    "--hold-at-least",
    "--hold-at-most",
    "--kill-after",
    "--label",
    "--lease",
    "--conflict-exit-code",
    "--backend",
];

/// What to write instead, where `given` is a `locks run` that lacks key, `--` or command.
pub(super) fn separator(kind: ErrorKind, given: &[OsString]) -> Option<String> {
    let told = [ErrorKind::MissingRequiredArgument, ErrorKind::UnknownArgument];
    if !told.contains(&kind) || given.get(1)? != "run" {
        return None;
    }
    let words = given[2..].iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>();
    let end = words.iter().position(|word| word == "--");
    let key = first_key(&words[..end.unwrap_or(words.len())]);
    let (missing, before, after) = match (end, key) {
        (None, None) => ("the key, `--` and the command are", words.as_slice(), &[][..]),
        (None, Some(key)) => {
            let (before, after) = words.split_at(key + 1);
            ("there is no", before, after)
        }
        (Some(end), None) => ("the key is", &words[..end], &words[end + 1..]),
        // Something else may be wrong with the options.
        (Some(end), Some(_)) if end + 1 < words.len() => return None,
        (Some(end), Some(_)) => ("the command is", &words[..end], &[][..]),
    };
    let missing = match (missing, after) {
        ("there is no", []) => "`--` and the command are missing".to_owned(),
        ("there is no", _) => "there is no `--` before the command".to_owned(),
        (missing, _) => format!("{missing} missing"),
    };
    let mut line = vec!["locks run".to_owned()];
    line.extend(before.iter().map(|word| quoted(word)));
    line.extend(key.is_none().then(|| "KEY".to_owned()));
    line.push("--".to_owned());
    line.extend(after.iter().map(|word| quoted(word)));
    line.extend(after.is_empty().then(|| "COMMAND".to_owned()));
    Some(format!("{missing}: write `{}`", line.join(" ")))
}

/// The first word that is neither an option nor the value of one.
fn first_key(words: &[impl AsRef<str>]) -> Option<usize> {
    let mut is_value = false;
    words.iter().map(AsRef::as_ref).position(|word| {
        let is_key = !is_value && !word.starts_with('-');
        is_value = !is_value && WITH_VALUE.contains(&word);
        is_key
    })
}
