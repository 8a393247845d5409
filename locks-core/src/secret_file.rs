//! Files with secrets, passwords and private keys: one rule for all of them (N5).

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use crate::{ErrorKind, LockError};

/// Why a file with a secret is not read, as the end of a sentence that begins with its name.
#[derive(Debug)]
pub struct Unfit {
    why: String,
    source: Option<io::Error>,
}

/// Opens a file with a secret: a regular file of this user, with no access for anybody else, or of
/// root, which its group may read, as a secret is mounted into a container whose user is another. A
/// link is followed, since they are mounted behind one; what counts is the file at its end.
///
/// # Errors
/// What is wrong with the file, and how to mend it.
pub fn open(path: &Path) -> Result<File, Unfit> {
    let file = begin(path)?;
    #[cfg(unix)]
    if let Some(why) = unfit(&file, path)? {
        return Err(Unfit { why, source: None });
    }
    Ok(file)
}

/// Does not wait for a pipe.
fn begin(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;

        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    }
    options.read(true).open(path)
}

/// Asked of the file that has been opened, whatever is at the path by now.
#[cfg(unix)]
fn unfit(file: &File, path: &Path) -> io::Result<Option<String>> {
    use std::os::unix::fs::MetadataExt as _;

    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Some("is no regular file".into()));
    }
    let (path, whose) = (path.display(), metadata.uid());
    let user = rustix::process::geteuid().as_raw();
    if whose != user && whose != 0 {
        return Ok(Some(format!(
            "belongs to user {whose}, not to this one ({user}) or to root: make it over with \
             `chown {user} {path}`"
        )));
    }
    let mode = metadata.mode() & 0o777;
    let most = if whose == 0 { 0o640 } else { 0o600 };
    if mode & 0o077 & !most != 0 {
        return Ok(Some(format!(
            "can be read or written by others (mode {mode:03o}): close it with `chmod {most:o} {path}`, \
             and replace what is in it if somebody may have seen it"
        )));
    }
    Ok(None)
}

impl Unfit {
    /// Returns `true` if there is no such file.
    pub fn is_missing(&self) -> bool {
        self.source.as_ref().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Returns it as an error about `what`, which names the file.
    pub fn refusal(self, what: impl fmt::Display) -> LockError {
        let error =
            LockError::new(ErrorKind::NotConfigured, "").with_message(format!("{what} {self}"));
        match self.source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }
}

impl From<io::Error> for Unfit {
    fn from(error: io::Error) -> Self {
        Self { why: format!("cannot be read: {error}"), source: Some(error) }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl Error for Unfit {}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
    use std::path::PathBuf;

    use super::*;

    /// A directory for one test; gone with it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("locks-secret-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, mode: u32) -> PathBuf {
            let path = self.0.join("secret");
            fs::write(&path, "hunter2").unwrap();
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
        let error = open(path).unwrap_err().refusal(format!("`{}`", path.display()));
        assert_eq!(error.kind(), ErrorKind::NotConfigured);
        error.to_string()
    }

    #[test]
    fn n5_only_a_file_that_is_closed_to_others_is_opened() {
        let place = Place::new("modes");
        let is_of_root = rustix::process::geteuid().is_root();
        let (of_root, of_others) = ([0o640, 0o440], [0o604, 0o620, 0o602, 0o610, 0o666]);
        let fit = [0o600, 0o400].into_iter().chain(of_root.into_iter().filter(|_| is_of_root));
        for mode in fit {
            open(&place.file(mode)).unwrap();
            fs::remove_file(place.0.join("secret")).unwrap();
        }
        let unfit = of_others.into_iter().chain(of_root.into_iter().filter(|_| !is_of_root));
        for mode in unfit {
            let path = place.file(mode);
            let said = refusal(&path);
            let most = if is_of_root { 640 } else { 600 };
            let mend =
                format!("(mode {mode:03o}): close it with `chmod {most} {}`", path.display());
            assert!(said.contains(&mend), "{said}");
        }
    }

    #[test]
    fn n5_behind_a_link_the_file_itself_counts() {
        let place = Place::new("link");
        let link = place.0.join("link");
        symlink(place.file(0o600), &link).unwrap();
        open(&link).unwrap();
        place.file(0o644);
        assert!(refusal(&link).contains("(mode 644)"));
    }

    #[test]
    fn n5_a_file_of_another_user_is_refused() {
        let place = Place::new("owner");
        let path = place.file(0o600);
        // For root alone.
        if chown(&path, Some(65534), None).is_ok() {
            let said = refusal(&path);
            assert!(said.contains("belongs to user 65534") && said.contains("`chown 0 "), "{said}");
        }
    }

    #[test]
    fn n5_what_is_missing_or_no_file_is_refused() {
        let place = Place::new("none");
        let missing = open(&place.0.join("missing")).unwrap_err();
        assert!(missing.is_missing() && missing.to_string().starts_with("cannot be read: "));
        assert!(refusal(&place.0).ends_with("is no regular file"));
        let pipe = place.0.join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        assert!(refusal(&pipe).ends_with("is no regular file"));
    }
}
