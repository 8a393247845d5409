//! The manual's page on events and metrics, against the code.

const PAGE: &str = include_str!("../../src/manual/observability.md");

/// The rows of the table that has this head.
fn rows(head: &str) -> Vec<&'static str> {
    let table = PAGE.split_once(head).unwrap_or_else(|| panic!("no table `{head}`")).1;
    table.lines().skip(2).take_while(|line| line.starts_with('|')).collect()
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(feature = "metrics")]
#[test]
fn the_page_lists_every_metric() {
    let told = locks_core::METRICS.map(|(name, kind, labels, help)| {
        format!("| `{name}` | {kind} | {} | {help} |", quoted(labels))
    });
    assert_eq!(rows("| metric | type | labels | meaning |"), told);
}

#[cfg(feature = "tracing")]
#[test]
fn the_page_lists_every_event() {
    let told = locks_core::EVENTS
        .map(|(message, level, fields)| format!("| `{message}` | {level} | {} |", quoted(fields)));
    assert_eq!(rows("| message | level | fields |"), told);
    let mut fields =
        locks_core::EVENTS.iter().flat_map(|(.., fields)| fields.iter()).collect::<Vec<_>>();
    fields.sort_unstable();
    fields.dedup();
    let explained = rows("| field | meaning |");
    let mut names = explained.iter().map(|row| row.split('`').nth(1).unwrap()).collect::<Vec<_>>();
    names.sort_unstable();
    assert_eq!(names, fields.into_iter().copied().collect::<Vec<_>>());
}

/// They need crates that the tests have not, so that they are compiled there.
#[test]
fn the_programs_of_the_page_are_lines_of_the_example() {
    let example = include_str!("../../examples/observed.rs");
    let example = example.lines().map(str::trim).collect::<Vec<_>>();
    let blocks = PAGE.split("```rust,ignore\n").skip(1).map(|rest| rest.split("```").next());
    let lines = blocks.flatten().flat_map(str::lines).map(str::trim);
    let lines = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>();
    assert!(lines.len() > 10, "{lines:?}");
    for line in lines {
        assert!(example.contains(&line), "`{line}` is not in `examples/observed.rs`");
    }
}
