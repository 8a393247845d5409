//! Names as people are shown them: keys, labels, processes and whatever else comes from others.

/// The text on one line, and without what would steer a terminal or turn the direction of writing,
/// by which one name could look like another.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// The same of a text whose line breaks are its own.
pub(crate) fn shown_in_lines(text: &str) -> String {
    text.split('\n').map(shown).collect::<Vec<_>>().join("\n")
}

/// Whether it ends a line, or is one of those that turn the direction of writing.
fn turns(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n12_nothing_moves_the_cursor_or_turns_the_text_around() {
        for (text, expected) in [
            ("a\u{1b}[2J\n\u{202e}b é", "a\\u{1b}[2J\\n\\u{202e}b é"),
            ("\u{61c}\u{200e}\u{200f}", "\\u{61c}\\u{200e}\\u{200f}"),
            ("\u{2028}\u{2029}\u{202a}", "\\u{2028}\\u{2029}\\u{202a}"),
            ("\u{2066}\u{2069}\u{9b}\r", "\\u{2066}\\u{2069}\\u{9b}\\r"),
            ("סדר e\u{301} 👩‍🚀", "סדר e\u{301} 👩‍🚀"),
        ] {
            assert_eq!(shown(text), expected);
            assert_eq!(shown(&shown(text)), expected, "twice is as good as once");
        }
        assert_eq!(shown_in_lines("a\n\u{202e}b\n"), "a\n\\u{202e}b\n");
    }
}
