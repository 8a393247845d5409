//! What a schema of locks is made of.

use locks_core::fork::Inherited;
use locks_core::{ErrorKind, LockError};

/// The schema that is used unless another one is named.
pub(super) const DEFAULT: &str = "locks";

const SCHEMA: &str = include_str!("sql/schema.sql");
/// What is put in the place of these lines.
const FUNCTIONS: [(&str, &str); 4] = [
    ("CLAIM\n", include_str!("sql/claim.sql")),
    ("END_\n", include_str!("sql/end.sql")),
    ("RENEW\n", include_str!("sql/renew.sql")),
    ("TAKE\n", include_str!("sql/take.sql")),
];

/// The mark in the names of functions, of their text: those of another text have other names.
fn mark() -> &'static str {
    static MARK: Inherited<String> = Inherited::new();
    MARK.get_or_init(|| {
        let texts = [SCHEMA].into_iter().chain(FUNCTIONS.map(|(_, text)| text));
        // FNV-1a, which stays what it is: the standard library's hash may change.
        let hash = texts.flat_map(str::bytes).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        format!("{hash:016x}")
    })
}

/// A schema's name, checked, as it is written in statements.
#[derive(Clone, Debug)]
pub(super) struct Schema {
    pub(super) name: String,
}

impl Schema {
    /// # Errors
    /// `NotConfigured` if it is no plain name.
    pub(super) fn new(name: &str) -> Result<Self, LockError> {
        let letters = |letter: char| letter.is_ascii_lowercase() || letter == '_';
        let begins = name.chars().next().is_some_and(letters) && !name.starts_with("pg_");
        let plain = name.chars().all(|letter| letters(letter) || letter.is_ascii_digit());
        if begins && plain && name.len() <= 48 {
            return Ok(Self { name: name.to_owned() });
        }
        let why = "a schema of locks has a name of 1 to 48 small letters, digits and `_`, which does \
                   not begin with a digit or `pg_`";
        Err(LockError::new(ErrorKind::NotConfigured, "").with_message(why))
    }

    /// `text` about this schema. Names may be words of SQL's own.
    pub(super) fn fill(&self, text: &str) -> String {
        let text = text.replace("{name}", &self.name).replace("{v}", mark());
        match self.name.as_str() {
            DEFAULT => text.replace("{schema}", DEFAULT),
            name => text.replace("{schema}", &format!("\"{name}\"")),
        }
    }

    /// What is said behind `locks postgres schema` for it.
    pub(super) fn options(&self, logged: bool) -> String {
        let name = match &*self.name {
            DEFAULT => String::new(),
            name => format!(" --schema {name}"),
        };
        name + if logged { " --durable" } else { "" }
    }

    /// The statement that makes it, which does nothing where it is there already.
    pub(super) fn script(&self, logged: bool) -> String {
        let mut text = SCHEMA.to_owned();
        for (place, function) in FUNCTIONS {
            text = text.replace(&format!("\n{place}"), &format!("\n{function}"));
        }
        if logged {
            text = text.replace("UNLOGGED TABLE", "TABLE");
        }
        self.fill(&text)
    }
}

/// Returns the SQL that creates the schema of this name, for a role that may create it; clients do
/// so themselves where they may. `logged`: for clients that want [durable](super::Durability) rows.
///
/// ```
/// let sql = locks_engines::postgres::schema("locks", false)?;
/// assert!(sql.contains("CREATE SCHEMA locks"));
/// # Ok::<(), locks_core::LockError>(())
/// ```
///
/// # Errors
/// [`NotConfigured`](ErrorKind::NotConfigured) if it is no name for one.
pub fn schema(name: &str, logged: bool) -> Result<String, LockError> {
    Ok(Schema::new(name)?.script(logged))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prints_a_schema_is_told_with_its_options() {
        for (name, logged, options) in [
            ("locks", false, ""),
            ("locks", true, " --durable"),
            ("order", false, " --schema order"),
            ("order", true, " --schema order --durable"),
        ] {
            assert_eq!(Schema::new(name).unwrap().options(logged), options);
        }
    }

    #[test]
    fn names_are_plain_and_others_are_refused() {
        for name in ["locks", "order", "_a1"] {
            assert!(Schema::new(name).is_ok(), "{name}");
        }
        for name in ["", "Locks", "a-b", "a\"b", "pg_locks", "1a", &"a".repeat(49)] {
            assert!(Schema::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn nothing_is_left_to_be_filled_in() {
        for (name, logged) in [("locks", false), ("order", true)] {
            let text = schema(name, logged).unwrap();
            for place in ["{schema}", "{name}", "{v}", "\nCLAIM", "\nEND_", "\nRENEW", "\nTAKE"] {
                assert!(!text.contains(place), "{place} in {name}");
            }
            assert_eq!(text.contains("UNLOGGED"), !logged);
        }
    }
}
