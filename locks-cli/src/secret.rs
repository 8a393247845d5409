//! `locks secret`: makes a secret.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use locks::net::Secret;
use serde_json::json;

use crate::args::SecretArgs;
use crate::out;
use crate::status::{Failure, Status};

/// Prints a new secret, or writes it to a new file.
pub(crate) fn secret(asked: &SecretArgs) -> Result<Status, Failure> {
    let mut secret = Secret::generate()?;
    if let Some(name) = &asked.name {
        secret = secret.named(name)?;
    }
    let text = secret.to_text();
    let said = match &asked.out {
        Some(path) => {
            create(path, &text)?;
            asked.json.then(|| format!("{}\n", json!({ "file": path.to_string_lossy() })))
        }
        None if asked.json => Some(format!("{}\n", json!({ "secret": &**text }))),
        None => Some(format!("{}\n", &**text)),
    };
    if let Some(said) = said {
        out::print(&said)?;
    }
    Ok(Status::Done)
}

/// Writes a secret to a new file, which only its user can read.
pub(crate) fn create(path: &Path, text: &str) -> Result<(), Failure> {
    write(path, text).map_err(|error| refused(path, &error))
}

/// A new file, so that no secret that is in use is lost.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    // The umask may have taken from its owner what it has to leave.
    let own = file.set_permissions(Permissions::from_mode(0o600));
    let written = own.and_then(|()| writeln!(file, "{text}")).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a secret is of no use, and would be in the way of the next try.
        let _ = fs::remove_file(path);
    }
    written
}

fn refused(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::new(format!(
            "`{path}` is there already, and may be a secret that is in use: it was left alone"
        )),
        _ => Failure::new(format!("the secret cannot be written to `{path}`: {error}")),
    }
}
