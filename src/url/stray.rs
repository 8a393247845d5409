//! Letters that have come into a URL by accident, such as the line break at the end of a secret.
//!
//! To take them for a part of it would silently name another place or another namespace.

use locks_core::LockError;

use super::refused;

/// # Errors
/// If white space is at an end of `url`, or a control character anywhere.
pub(super) fn refuse_strays(url: &str) -> Result<(), LockError> {
    // A place is named by its number, since the URL is not to be repeated.
    let is_stray = |letter: char| letter.is_whitespace() || letter.is_control();
    let (found, place) = if let Some(first) = url.chars().next().filter(|c| is_stray(*c)) {
        (first, "at the beginning of the URL".to_owned())
    } else if let Some(last) = url.chars().next_back().filter(|c| is_stray(*c)) {
        (last, "at the end of the URL".to_owned())
    } else if let Some((index, control)) = url.chars().enumerate().find(|(_, c)| c.is_control()) {
        (control, format!("in the URL, as its character {}", index + 1))
    } else {
        return Ok(());
    };
    let mut bytes = [0; 4];
    let bytes = found.encode_utf8(&mut bytes).bytes();
    let escaped = bytes.map(|byte| format!("%{byte:02X}")).collect::<String>();
    Err(refused(format!(
        "{} stands {place}: take it away, or write it as `{escaped}` if it is meant",
        what(found)
    )))
}

fn what(letter: char) -> String {
    match letter {
        '\n' | '\r' => "a line break".into(),
        '\t' => "a tab".into(),
        ' ' => "a blank".into(),
        _ if letter.is_control() => format!("a control character (U+{:04X})", u32::from(letter)),
        _ => format!("a blank (U+{:04X})", u32::from(letter)),
    }
}
