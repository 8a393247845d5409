//! The directory that the locked files are in.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A directory of one table's own; dropping it removes it.
pub(crate) struct Place(PathBuf);

impl Place {
    /// An empty directory below `base`, for this user alone.
    pub(crate) fn new(base: &Path, table: &str) -> Self {
        let shown = base.display();
        let base = base.canonicalize().unwrap_or_else(|error| panic!("{shown}: {error}"));
        let path = base.join(format!("locks-{table}-{}", std::process::id()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where the files were, as a table says it: the price of opening one depends on it.
    pub(crate) fn described(&self) -> String {
        let base = self.0.parent().expect("it is below `base`");
        match file_system(base) {
            Some(kind) => format!("{} ({kind})", base.display()),
            None => base.display().to_string(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left in a temporary directory harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The kind of the file system that `path` is on, where the system tells.
fn file_system(path: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut cells = line.split(' ').skip(1);
        Some((cells.next()?, cells.next()?))
    });
    let above = mounts.filter(|(point, _)| path.starts_with(point));
    above.max_by_key(|(point, _)| point.len()).map(|(_, kind)| kind.to_owned())
}
