//! Locks as a table, for people: a line for each holder.

use std::fmt::Write;
use std::time::Duration;

use locks::{HolderInfo, LockInfo, Mode, ProcessInfo, WaiterInfo};

use super::person;
use crate::shown::shown;

const HEAD: [&str; 9] =
    ["KEY", "MODE", "PID", "AGE", "TOKEN", "WAITERS", "HOLDER", "SITE", "COMMAND"];

type Row = [String; HEAD.len()];

/// The table; nothing at all if there are no locks. Lines are cut to `width`.
pub(super) fn table(locks: &[LockInfo], width: Option<usize>) -> String {
    if locks.is_empty() {
        return String::new();
    }
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(locks.iter().flat_map(rows_of));
    let widths: [usize; HEAD.len()] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(&cut(line.trim_end(), width));
        text.push('\n');
    }
    text
}

fn rows_of(lock: &LockInfo) -> Vec<Row> {
    let waiters = waiters(&lock.waiters);
    let mut rows = lock.holders.iter().map(row).collect::<Vec<_>>();
    if rows.is_empty() {
        rows.push(nobody(lock));
    }
    for row in &mut rows {
        row[0] = shown(&lock.key);
    }
    // Once for the key, not for each of those who share it.
    if let Some(first) = rows.first_mut() {
        first[5] = waiters;
    }
    rows
}

fn row(holder: &HolderInfo) -> Row {
    let known = |text: Option<String>| text.map_or_else(|| "-".to_owned(), |text| shown(&text));
    [
        String::new(),
        mode(holder.mode),
        known(holder.party.pid.map(|pid| pid.to_string())),
        known(holder.age.map(brief)),
        known(holder.token.map(|token| token.to_string())),
        String::new(),
        known(name(holder.who.as_deref(), &holder.party)),
        known(person::holder_site(holder)),
        known(person::command(&holder.party)),
    ]
}

/// A key that is reserved, or promised to whoever waits.
fn nobody(lock: &LockInfo) -> Row {
    let mut row: Row = std::array::from_fn(|_| "-".to_owned());
    if let Some(left) = lock.reserved_for {
        row[1] = "reserved".into();
        let tokens = lock.reserved_by.iter().map(ToString::to_string).collect::<Vec<_>>();
        if !tokens.is_empty() {
            row[4] = tokens.join(" ");
        }
        row[6] = format!("nobody, for another {}", brief(left));
    }
    row
}

fn mode(mode: Mode) -> String {
    match mode {
        Mode::Permit { take: 1, of } => format!("permit/{of}"),
        Mode::Permit { take, of } => format!("{take} permits/{of}"),
        Mode::Exclusive | Mode::Shared => person::mode(mode).to_owned(),
    }
}

/// How many, and the first of them where there are numbers to call them by.
fn waiters(waiters: &[WaiterInfo]) -> String {
    const NAMED: usize = 3;
    let pids = waiters.iter().filter_map(|waiter| waiter.party.pid).map(|pid| pid.to_string());
    let named = pids.take(NAMED).collect::<Vec<_>>();
    match (waiters.len(), named.as_slice()) {
        (count, []) => count.to_string(),
        (count, named) if count > named.len() => format!("{count} ({}, …)", named.join(", ")),
        (count, named) => format!("{count} ({})", named.join(", ")),
    }
}

fn name(who: Option<&str>, party: &ProcessInfo) -> Option<String> {
    let (label, process) = (party.label.as_deref(), party.process.as_deref());
    // What is told twice is one name, and where everybody is needs no telling.
    let process = process.filter(|process| label != Some(process));
    let host = party.host.as_deref().filter(|host| !person::is_local(host));
    let known = [label, process, who];
    let mut words = known.into_iter().flatten().map(str::to_owned).collect::<Vec<_>>();
    words.extend(host.map(|host| format!("on {host}")));
    (!words.is_empty()).then(|| words.join(" "))
}

/// Two units at most, without blanks, so that columns stay narrow.
fn brief(time: Duration) -> String {
    let whole = time.as_secs();
    match whole {
        0 => format!("{}ms", time.as_millis()),
        1..60 => format!("{whole}.{}s", time.subsec_millis() / 100),
        60..3_600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3_600..86_400 => format!("{}h{:02}m", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

fn cut(line: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if line.chars().count() > width => {
            line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use locks::Token;

    use super::*;

    fn held(key: &str) -> LockInfo {
        let mut holder = HolderInfo::new(Mode::Exclusive);
        holder.token = Some(Token::new(7));
        holder.age = Some(Duration::from_millis(61_500));
        holder.party.process = Some("worker".into());
        let mut info = LockInfo::new(key);
        info.holders.push(holder);
        info
    }

    #[test]
    fn there_is_a_line_for_each_holder_and_the_waiters_are_told_once() {
        let mut info = held("report");
        info.holders.push(HolderInfo::new(Mode::Shared));
        let mut waiter = WaiterInfo::new(Mode::Exclusive, Duration::ZERO);
        waiter.party.pid = Some(4_711);
        info.waiters = vec![waiter, WaiterInfo::new(Mode::Shared, Duration::ZERO)];
        let text = table(&[info], None);
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let expected: [&[&str]; 3] = [
            &HEAD,
            &["report", "exclusive", "-", "1m01s", "7", "2", "(4711,", "…)", "worker", "-", "-"],
            &["report", "shared", "-", "-", "-", "-", "-", "-"],
        ];
        assert_eq!(lines.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn control_characters_reach_no_terminal() {
        let text = table(&[held("a\x1b[2J\nb\u{202e}c\u{9b}é\u{61c}")], None);
        assert!(text.contains(r"a\u{1b}[2J\nb\u{202e}c\u{9b}é\u{61c}"), "{text}");
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn a_reserved_key_says_for_how_long() {
        let mut info = LockInfo::new("hourly");
        info.reserved_for = Some(Duration::from_secs(7_260));
        let text = table(&[info], None);
        assert!(text.contains("reserved") && text.contains("another 2h01m"), "{text}");
    }

    #[test]
    fn lines_are_cut_where_there_is_an_edge_and_nothing_is_a_word_less() {
        for line in table(&[held("report")], Some(40)).lines() {
            assert!(line.chars().count() <= 40 && line.ends_with('…'), "{line}");
        }
        assert_eq!(table(&[], Some(40)), "");
    }

    #[test]
    fn ages_are_short() {
        for (millis, expected) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_099, "1.0s"),
            (59_999, "59.9s"),
            (60_000, "1m00s"),
            (5_400_000, "1h30m"),
            (183_600_000, "2d03h"),
        ] {
            assert_eq!(brief(Duration::from_millis(millis)), expected);
        }
    }
}
