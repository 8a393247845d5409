//! A secret's file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use locks_core::secret_file::{self, Unfit};
use locks_core::{ErrorKind, LockError};
use zeroize::Zeroizing;

use super::Secret;

/// More than a name, 64 digits and some white space are no secret.
const LONGEST: usize = 256;

pub(super) fn read(path: &Path) -> Result<Secret, LockError> {
    let what = format!("the secret in `{}`", path.display());
    let refused = |unfit: Unfit| {
        let advice = match unfit.is_missing() {
            true => ": copy the one that the server has, or make one for it with `locks secret`",
            false => "",
        };
        let error = unfit.refusal(&what);
        let said = format!("{error}{advice}");
        error.with_message(said)
    };
    let file = secret_file::open(path).map_err(refused)?;
    let text = contents(file).map_err(|error| refused(error.into()))?;
    Secret::from_text(text.trim_ascii()).map_err(|why| {
        LockError::new(ErrorKind::NotConfigured, "").with_message(format!("{what} {why}"))
    })
}

fn contents(file: File) -> io::Result<Zeroizing<Vec<u8>>> {
    // With room for all of it from the start, so that it is not moved and left behind.
    let mut contents = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    file.take(LONGEST as u64).read_to_end(&mut contents)?;
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    /// A directory for one test; gone with it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let name = format!("locks-net-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, text: &str, mode: u32) -> PathBuf {
            let path = self.0.join("secret");
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn refusal(path: &Path) -> String {
        let error = read(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConfigured);
        error.to_string()
    }

    #[test]
    fn n5_a_file_of_ones_own_is_read() {
        let place = Place::new("own");
        let secret = Secret::generate().unwrap();
        for mode in [0o600, 0o400] {
            let path = place.file(&format!("{}\n", *secret.to_text()), mode);
            assert_eq!(read(&path).unwrap().bytes(), secret.bytes());
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn n5_a_file_that_others_can_read_or_write_is_refused() {
        let place = Place::new("open");
        for mode in [0o644, 0o604, 0o620, 0o602, 0o610, 0o666] {
            let refusal = refusal(&place.file(&"a7".repeat(32), mode));
            assert!(refusal.contains("`chmod 6"), "{refusal}");
        }
    }

    #[test]
    fn n5_what_is_no_secret_is_refused() {
        let place = Place::new("none");
        let missing = refusal(&place.0.join("missing"));
        assert!(missing.ends_with("make one for it with `locks secret`"), "{missing}");
        let directory = refusal(&place.0);
        assert!(directory.ends_with("is no regular file"), "{directory}");
        let empty = refusal(&place.file("", 0o600));
        assert!(empty.ends_with("is empty: make one with `locks secret`"), "{empty}");
        for text in ["a7a7", &"a7".repeat(33), &"a7".repeat(1000)] {
            let refusal = refusal(&place.file(text, 0o600));
            assert!(refusal.ends_with("digits, not 64: make one with `locks secret`"), "{refusal}");
            assert!(!refusal.contains("a7"), "{refusal}");
        }
    }
}
