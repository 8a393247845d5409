//! `file:`.

use locks_core::{Backend, LockError};
use locks_file::FileBackend;

use super::options::Settings;
use super::{absolute_path, refused};

pub(super) fn open(place: &str, settings: Settings) -> Result<Backend, LockError> {
    backend(place, settings).map(Backend::from)
}

pub(super) fn backend(place: &str, settings: Settings) -> Result<FileBackend, LockError> {
    let path = match absolute_path("file", place, "/var/lock/app")? {
        Some(path) => path,
        None => FileBackend::default_directory()?,
    };
    let mut builder = FileBackend::builder(path);
    for (name, value) in settings.own {
        builder = match (&*name, &*value) {
            ("network_fs", "allow") => builder.allow_network_fs(),
            ("network_fs", _) => return Err(refused("option `network_fs` wants `allow`".into())),
            ("users", "several") => builder.of_several_users(),
            ("users", _) => return Err(refused("option `users` wants `several`".into())),
            (_, label) => builder.label(label),
        };
    }
    builder.open()
}
