//! What this crate is called where it is used.

use std::path::Path;
use std::sync::OnceLock;

/// The name by which the crate that is being compiled knows the facade, if that is not `locks` and
/// there is one: the compiler has been told by its arguments. Somebody else who expands macros,
/// such as an editor's server, has none.
pub(crate) fn other_name() -> Option<&'static str> {
    static NAME: OnceLock<Option<String>> = OnceLock::new();
    NAME.get_or_init(|| among(std::env::args())).as_deref()
}

/// Whether the crate that is being compiled is of the edition of 2015, in which `::core` is one of
/// its own modules.
pub(crate) fn is_of_2015() -> bool {
    edition(std::env::args()).is_none_or(|edition| edition == "2015")
}

/// The edition that the compiler was told; by itself it takes the first one.
fn edition(mut args: impl Iterator<Item = String>) -> Option<String> {
    let behind = args.find_map(|arg| arg.strip_prefix("--edition").map(str::to_owned))?;
    match behind.strip_prefix('=') {
        Some(edition) => Some(edition.to_owned()),
        None => args.next(),
    }
}

fn among(args: impl Iterator<Item = String>) -> Option<String> {
    let mut found = None;
    let mut args = args.peekable();
    while let Some(arg) = args.next() {
        let given = match arg.strip_prefix("--extern=") {
            Some(given) => given.to_owned(),
            None if arg == "--extern" => args.next()?,
            None => continue,
        };
        // `priv:guards=/path/liblocks-0123.rmeta`
        let Some((name, path)) = given.split_once('=') else { continue };
        let name = name.rsplit(':').next().unwrap_or(name);
        if name == "locks" {
            return None;
        }
        let file = Path::new(path).file_stem()?.to_string_lossy().into_owned();
        if file == "liblocks" || file.starts_with("liblocks-") {
            found = Some(name.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a1_reads_the_edition_that_the_compiler_was_told() {
        for (args, found) in [
            ("rustc --edition=2021 a.rs", Some("2021")),
            ("rustc a.rs --edition 2015 -O", Some("2015")),
            ("rustc a.rs", None),
        ] {
            assert_eq!(edition(args.split(' ').map(str::to_owned)).as_deref(), found, "{args}");
        }
    }

    #[test]
    fn knows_the_name_by_which_it_goes() {
        let among = |text: &str| among(text.split(' ').map(str::to_owned));
        let ours = "--extern guards=/t/liblocks-1.rmeta";
        assert_eq!(
            among(&format!("rustc a.rs --extern core=/t/libcore.rlib {ours}")).as_deref(),
            Some("guards")
        );
        assert_eq!(
            among("rustc --extern=priv:guards=/t/liblocks-1.rlib").as_deref(),
            Some("guards")
        );
        assert_eq!(among(&format!("rustc {ours} --extern locks=/t/liblocks-2.rmeta")), None);
        assert_eq!(among("rustc --extern locks_core=/t/liblocks_core-2.rmeta"), None);
        assert_eq!(among("proc-macro-srv"), None);
        assert_eq!(among("rustc --extern"), None);
    }
}
