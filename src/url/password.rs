//! Where the passwords of servers are.

use std::env::{self, VarError};
use std::io::Read as _;
use std::path::Path;

use locks_core::LockError;
use locks_core::secret_file::{self, Unfit};

use super::options::Settings;
use super::refused;

/// Where a password is, if no file is named.
const VARIABLE: &str = "LOCKS_PASSWORD";

/// The same of Sentinels, which have passwords of their own.
#[cfg(feature = "redis")]
const SENTINEL_VARIABLE: &str = "LOCKS_SENTINEL_PASSWORD";

/// The password in the file that the settings name, or else in the environment.
pub(super) fn password(settings: &Settings) -> Result<Option<String>, LockError> {
    match settings.get("password_file") {
        Some(path) => read("password_file", path).map(Some),
        None => of_environment(VARIABLE),
    }
}

/// The password of Sentinels, in the same way.
#[cfg(feature = "redis")]
pub(super) fn sentinel_password(settings: &Settings) -> Result<Option<String>, LockError> {
    let option = "sentinel_password_file";
    match settings.get(option) {
        Some(path) => read(option, path).map(Some),
        None => of_environment(SENTINEL_VARIABLE),
    }
}

/// The password in a file, without the end of its line.
fn read(option: &str, path: &str) -> Result<String, LockError> {
    let text = read_secret(option, path)?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(refused(format!("option `{option}`: `{path}` is empty")));
    }
    Ok(password.to_owned())
}

/// The text of a file with a password, which is its owner's alone.
pub(super) fn read_secret(option: &str, path: &str) -> Result<String, LockError> {
    let mut text = String::new();
    secret_file::open(Path::new(path))
        .and_then(|mut file| file.read_to_string(&mut text).map_err(Unfit::from))
        .map_err(|unfit| unfit.refusal(format!("option `{option}`: `{path}`")))?;
    Ok(text)
}

/// What a variable says, if it says anything.
pub(super) fn of_environment(name: &str) -> Result<Option<String>, LockError> {
    match env::var(name) {
        Ok(password) if password.is_empty() => Ok(None),
        Ok(password) => Ok(Some(password)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(refused(format!("`{name}` is not UTF-8"))),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::super::open;

    fn file(name: &str, mode: u32) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("locks-password-{}-{name}", std::process::id()));
        fs::write(&path, "hunter2\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Where files are named that nobody else should read.
    const URLS: &[(&str, &str)] = &[
        #[cfg(feature = "redis")]
        ("password_file", "redis://127.0.0.1?password_file="),
        #[cfg(feature = "redis")]
        ("sentinel_password_file", "redis://127.0.0.1?sentinel=m&sentinel_password_file="),
        #[cfg(feature = "postgres")]
        ("password_file", "postgres://app@127.0.0.1/x?password_file="),
        #[cfg(feature = "etcd")]
        ("password_file", "etcd://app@127.0.0.1?password_file="),
        #[cfg(feature = "etcd")]
        ("key", "etcd://127.0.0.1?cert=/etc/hostname&key="),
        #[cfg(feature = "redis")]
        ("the private key", "rediss://127.0.0.1?cert=/etc/hostname&key="),
        #[cfg(feature = "postgres")]
        (
            "the private key",
            "postgres://app@127.0.0.1/x?sslmode=require&sslcert=/etc/hostname&sslkey=",
        ),
    ];

    #[test]
    fn a_file_with_a_password_or_key_that_others_may_read_is_refused() {
        for (number, (option, url)) in URLS.iter().enumerate() {
            for (mode, is_private) in [(0o600, true), (0o400, true), (0o644, false), (0o604, false)]
            {
                let path = file(&format!("{number}-{mode}"), mode);
                let opened = open(&format!("{url}{}", path.display()));
                fs::remove_file(&path).unwrap();
                let said = opened.err().map(|error| error.to_string()).unwrap_or_default();
                assert!(!said.contains("hunter2"), "{said}");
                let path = path.display();
                let refused = format!(
                    "`{path}` can be read or written by others (mode {mode:03o}): close it with `chmod 6"
                );
                let is_refused = said.contains(&refused) && said.contains(option);
                assert_eq!(is_refused, !is_private, "{url} {mode:o}: {said}");
            }
        }
    }

    /// All that is wrong with them is that no certificate is in the file.
    #[test]
    fn the_urls_of_the_manual_are_understood() {
        let pages = [
            #[cfg(feature = "redis")]
            include_str!("../manual/redis.md"),
            #[cfg(feature = "postgres")]
            include_str!("../manual/postgres.md"),
            #[cfg(feature = "etcd")]
            include_str!("../manual/etcd.md"),
        ];
        let path = file("manual", 0o600);
        for page in pages {
            let urls = page.split("LOCKS_URL='").skip(1).map(|rest| rest.split('\'').next());
            let urls = Vec::from_iter(urls.flatten());
            let full = urls.iter().filter(|url| url.contains("=/etc/locks/ca.pem&password_file="));
            assert_eq!(full.count(), 1, "one has all of it: {urls:?}");
            for url in urls {
                let parts = url.split('&').map(|part| match part.split_once("=/") {
                    Some((name, _)) => format!("{name}={}", path.display()),
                    None => part.to_owned(),
                });
                let url = parts.collect::<Vec<_>>().join("&");
                let said = open(&url).err().map(|error| error.to_string()).unwrap_or_default();
                assert!(said.is_empty() || said.contains("certificates"), "{url}: {said}");
            }
        }
        fs::remove_file(path).unwrap();
    }
}
