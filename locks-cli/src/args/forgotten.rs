//! What everybody forgets once: the `--` before the command.

use std::ffi::OsString;

use super::keys::Words;
use crate::quoted::quoted;

/// What to write instead, where these words lack key, `--` or command.
pub(super) fn part(words: &Words<'_>) -> Option<String> {
    if words.takes_command {
        return of_run(words);
    }
    let has_key = words.has_named_key || !words.keys.is_empty();
    (!has_key).then(|| "the key is missing: write `locks hold KEY`".to_owned())
}

fn of_run(words: &Words<'_>) -> Option<String> {
    let has_key = words.has_named_key || !words.keys.is_empty();
    let (missing, keys, command) = match (words.command, words.keys) {
        (Some([]), _) if has_key => ("the command is missing", words.keys, &[][..]),
        (Some(command), _) if !has_key => ("the key is missing", &[][..], command),
        (Some(_), _) => return None,
        (None, [_, ..]) if words.has_named_key => {
            ("there is no `--` before the command", &[][..], words.keys)
        }
        (None, [_]) => ("`--` and the command are missing", words.keys, &[][..]),
        (None, [_, command @ ..]) => {
            ("there is no `--` before the command", &words.keys[..1], command)
        }
        (None, []) if has_key => ("`--` and the command are missing", &[][..], &[][..]),
        (None, []) => ("the key, `--` and the command are missing", &[][..], &[][..]),
    };
    let shown = |words: &[OsString]| {
        words.iter().map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>()
    };
    let mut line = vec!["locks run".to_owned()];
    line.extend(shown(words.options));
    line.extend(shown(keys));
    line.extend((!has_key).then(|| "KEY".to_owned()));
    line.push("--".to_owned());
    line.extend(shown(command));
    line.extend(command.is_empty().then(|| "COMMAND".to_owned()));
    Some(format!("{missing}: write `{}`", line.join(" ")))
}
