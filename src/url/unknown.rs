//! What is said of a URL whose scheme is none.

use std::fmt;

use locks_core::LockError;

use super::{Asks, SCHEMES, Scheme, refused};

/// What can be used instead, as the end of a sentence.
pub(super) struct Known(pub(super) Asks);

pub(super) fn no_scheme(url: &str, asks: Asks) -> LockError {
    let known = Known(asks);
    if url.is_empty() {
        // Such as `LOCKS_URL=$UNSET`, which is not meant to be the default backend.
        let why =
            "an empty URL names no backend: leave it out altogether for the default one, or else";
        return refused(format!("{why} {known}"));
    }
    if let Some(scheme) = SCHEMES.iter().find(|scheme| url.eq_ignore_ascii_case(scheme.name)) {
        return refused(format!("not a URL: write `{}:`, with a colon", scheme.name));
    }
    // As `docker --env-file` and units hand them on, where a shell would take them away.
    if url.starts_with(['"', '\'', '`', '\u{201c}', '\u{2018}']) {
        let why = "not a URL: the quotes around it are a part of it: write it without them";
        return refused(why.into());
    }
    let hint = if url.starts_with('/') { ": write `file://` before a directory" } else { "" };
    refused(format!("not a URL: it begins with no scheme{hint}; {known}"))
}

/// Of a URL that begins with this and a colon.
pub(super) fn unknown(name: &str, rest: &str, asks: Asks) -> LockError {
    let known = Known(asks);
    if let Some(scheme) = nearest(name, asks) {
        let meant = format!("did you mean `{}:`?", scheme.name);
        return refused(format!("`{name}:` is no scheme known here: {meant}"));
    }
    // A host and its port look like a scheme as well.
    if rest.parse::<u16>().is_ok() {
        return refused(format!("not a URL: write a scheme and `//` before a host; {known}"));
    }
    refused(format!("`{name}:` is no scheme known here; {known}"))
}

/// The scheme that is so close to `name` that it is hardly anything but a slip.
fn nearest(name: &str, asks: Asks) -> Option<&'static Scheme> {
    let name = name.to_ascii_lowercase();
    let slips = usable(asks).map(|scheme| (slips(name.as_bytes(), scheme.name.as_bytes()), scheme));
    let (slips, nearest) = slips.min_by_key(|(slips, _)| *slips)?;
    (slips <= name.len().max(nearest.name.len()) / 3).then_some(nearest)
}

/// How many letters are missing, too many, others, or in the place of their neighbours.
fn slips(one: &[u8], other: &[u8]) -> usize {
    // Of so much of the one with each beginning of the other: in this row, and in the two before.
    let mut rows = [vec![], vec![], (0..=other.len()).collect::<Vec<_>>()];
    for (i, letter) in one.iter().enumerate() {
        rows.rotate_left(1);
        let mut row = vec![i + 1];
        for (j, its) in other.iter().enumerate() {
            let changed = rows[1][j] + usize::from(letter != its);
            let mut least = changed.min(rows[1][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && (letter, its) == (&other[j - 1], &one[i - 1]) {
                least = least.min(rows[0][j - 1] + 1);
            }
            row.push(least);
        }
        rows[2] = row;
    }
    rows[2][other.len()]
}

/// The schemes that may be asked for, whether or not this build can serve them.
fn usable(asks: Asks) -> impl Iterator<Item = &'static Scheme> {
    let is_command = asks == Asks::Command;
    SCHEMES.iter().filter(move |scheme| !is_command || scheme.name != "memory")
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (served, missing): (Vec<_>, Vec<_>) =
            usable(self.0).partition(|scheme| scheme.open.is_ok());
        write!(f, "use {}", listed(&served, "or"))?;
        // A person has built nothing.
        match missing.is_empty() || self.0 == Asks::Command {
            true => Ok(()),
            false => write!(f, " (not in this build: {})", listed(&missing, "and")),
        }
    }
}

fn listed(schemes: &[&Scheme], word: &str) -> String {
    let names = schemes.iter().map(|scheme| format!("`{}:`", scheme.name)).collect::<Vec<_>>();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} {word} {last}", rest.join(", ")),
        _ => names.concat(),
    }
}
