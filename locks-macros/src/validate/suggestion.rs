/// The one of `known` that `word` was probably meant to be.
pub(super) fn closest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let far = |known: &str| distance(&word, known);
    let near = |known: &&&'a str| far(known) <= 2 && far(known) < word.len();
    known.iter().filter(near).min_by_key(|known| far(known)).copied()
}

/// How many characters have to be added, dropped or changed.
fn distance(a: &str, b: &str) -> usize {
    let b = b.chars().collect::<Vec<_>>();
    let mut row = (0..=b.len()).collect::<Vec<_>>();
    for (i, char_a) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, char_b) in b.iter().enumerate() {
            let changed = diagonal + usize::from(char_a != *char_b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_closest_word() {
        let known = ["wait", "shared", "steal_after"];
        assert_eq!(closest("wiat", &known), Some("wait"));
        assert_eq!(closest("stealafter", &known), Some("steal_after"));
        assert_eq!(closest("SHARED", &known), Some("shared"));
        assert_eq!(closest("timeout", &known), None);
        assert_eq!(closest("x", &known), None);
    }
}
