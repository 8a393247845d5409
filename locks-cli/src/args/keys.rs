//! Where the options end and the keys begin.
//!
//! Keys come out of variables, and one may begin with a dash. So the first key ends the options, as
//! `env` and `timeout` have it: `locks run a "$key" -- …` means the same whatever is in the
//! variable. The parser behind this one takes options anywhere, so it is given each key as the
//! value of `--key`.

use std::ffi::{OsStr, OsString};

use clap::Command;

/// The words of a command line that takes keys, told apart.
pub(super) struct Words<'a> {
    /// Options with their values, among them keys that were given by `--key`.
    pub(super) options: &'a [OsString],
    pub(super) keys: &'a [OsString],
    /// What follows the first `--`, if there is one: a command, or more keys.
    pub(super) command: Option<&'a [OsString]>,
    pub(super) takes_command: bool,
    /// Whether there is a key among the options.
    pub(super) has_named_key: bool,
}

impl<'a> Words<'a> {
    /// Of what follows the name of this subcommand.
    pub(super) fn of(subcommand: &Command, words: &'a [OsString]) -> Self {
        let (mut at, mut has_named_key) = (0, false);
        while let Some(word) = words.get(at) {
            let text = word.to_string_lossy();
            if text == "--" || !text.starts_with('-') || text == "-" {
                break;
            }
            has_named_key |= text == "--key" || text.starts_with("--key=");
            at += 1 + usize::from(wants_next(subcommand, &text));
        }
        let (options, rest) = words.split_at(at.min(words.len()));
        let end = rest.iter().position(|word| word == "--");
        let (keys, command) = rest.split_at(end.unwrap_or(rest.len()));
        let takes_command =
            subcommand.get_arguments().any(|argument| argument.get_id() == "command");
        Self { options, keys, command: end.map(|_| &command[1..]), takes_command, has_named_key }
    }

    /// The same, for a parser that takes options anywhere.
    pub(super) fn spelled(&self) -> Vec<OsString> {
        let mut words = Vec::new();
        let mut options = self.options.iter();
        while let Some(word) = options.next() {
            match (word == "--key").then(|| options.next()).flatten() {
                Some(key) => words.push(named(key)),
                None => words.push(word.clone()),
            }
        }
        words.extend(self.keys.iter().map(|key| named(key)));
        match self.command {
            Some(command) if self.takes_command => {
                words.push("--".into());
                words.extend_from_slice(command);
            }
            more => words.extend(more.unwrap_or_default().iter().map(|key| named(key))),
        }
        words
    }

    /// Keys that would have been options before the first key.
    pub(super) fn like_options(&self, subcommand: &Command) -> Vec<String> {
        let is_option = |text: &str| {
            let name = text.split('=').next().unwrap_or_default();
            subcommand.get_arguments().any(|argument| {
                argument.get_long().is_some_and(|long| name == format!("--{long}"))
                    || argument.get_short().is_some_and(|short| text == format!("-{short}"))
            })
        };
        let keys = self.keys.iter().map(|key| key.to_string_lossy().into_owned());
        keys.filter(|key| is_option(key)).collect()
    }
}

fn named(key: &OsStr) -> OsString {
    let mut word = OsString::from("--key=");
    word.push(key);
    word
}

/// Whether the value of this option, or of the last of these short ones, is the next word.
fn wants_next(subcommand: &Command, word: &str) -> bool {
    let takes_value = |is: &dyn Fn(&clap::Arg) -> bool| {
        let found = subcommand.get_arguments().find(|argument| is(argument));
        found.is_some_and(|argument| argument.get_action().takes_values())
    };
    if let Some(long) = word.strip_prefix("--") {
        return takes_value(&|argument| {
            argument.get_long() == Some(long)
                || argument.get_all_aliases().is_some_and(|names| names.contains(&long))
        });
    }
    let shorts = word.chars().skip(1).collect::<Vec<_>>();
    let first =
        shorts.iter().position(|c| takes_value(&|argument| argument.get_short() == Some(*c)));
    // What follows it in the same word is its value.
    first.is_some_and(|at| at + 1 == shorts.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(line: &str) -> String {
        let words = line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let run = super::super::run::command();
        let words = Words::of(&run, &words).spelled();
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_first_key_ends_the_options() {
        for (line, expected) in [
            ("a -- b", "--key=a -- b"),
            ("-n a -n -- b -- c", "-n --key=a --key=-n -- b -- c"),
            ("-w 5s a --steal-after=0s -- b", "-w 5s --key=a --key=--steal-after=0s -- b"),
            ("-nw 5s a -- b", "-nw 5s --key=a -- b"),
            ("-nw5s a b -- c", "-nw5s --key=a --key=b -- c"),
            ("--timeout 5s a -- b", "--timeout 5s --key=a -- b"),
            ("--wait 5s a -- b", "--wait 5s --key=a -- b"),
            ("--wait=5s 5s -- b", "--wait=5s --key=5s -- b"),
            ("--key -- --key=-n -q - -- b", "--key=-- --key=-n -q --key=- -- b"),
            ("--shared -- a", "--shared -- a"),
            ("--key", "--key"),
        ] {
            assert_eq!(spelled(line), expected, "{line}");
        }
    }
}
