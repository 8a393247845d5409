//! Where the passwords of servers are.

use std::env::{self, VarError};
use std::fs;

use locks_core::LockError;

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
    let text = fs::read_to_string(path).map_err(|error| {
        refused(format!("option `{option}`: `{path}` cannot be read: {error}")).with_source(error)
    })?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(refused(format!("option `{option}`: `{path}` is empty")));
    }
    Ok(password.to_owned())
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
