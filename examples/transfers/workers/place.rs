//! Where the processes of a run meet.

use std::fs::DirBuilder;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Failure;

/// A directory for the files and the locks; dropping it removes it.
pub(super) struct Place(pub(super) PathBuf);

impl Place {
    pub(super) fn new() -> Result<Self, Failure> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("transfers-{}-{number}", std::process::id());
        let place = Self(std::env::temp_dir().canonicalize()?.join(name));
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&place.0)?;
        builder.create(place.0.join("locks"))?;
        Ok(place)
    }

    /// Where the locks are, or whoever serves them.
    pub(super) fn locks(&self) -> PathBuf {
        self.0.join("locks")
    }

    /// A URL of this scheme for what is there.
    pub(super) fn url(scheme: &str, path: &Path) -> String {
        let bytes = path.as_os_str().as_encoded_bytes().iter();
        let encoded = bytes.map(|byte| match byte {
            b'/' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                char::from(*byte).to_string()
            }
            other => format!("%{other:02x}"),
        });
        format!("{scheme}://{}", encoded.collect::<String>())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left in a temporary directory harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
