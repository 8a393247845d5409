//! Which backend is asked.

use std::env::{self, VarError};

use locks::Backend;
use locks::backend::{Exclusion, LockBackend};
use locks::file::FileBackend;

use crate::status::Failure;

/// Where nobody says otherwise: the default directory of the user.
const DEFAULT: &str = "file:";

const VARIABLE: &str = "LOCKS_URL";

/// What names a backend: `--backend`, else `LOCKS_URL`, else the default.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    url: String,
    /// For errors, which do not repeat the URL.
    said_by: &'static str,
}

impl Place {
    pub(crate) fn choose(option: Option<String>) -> Result<Self, Failure> {
        if let Some(url) = option {
            return Ok(Self { url, said_by: "`--backend`" });
        }
        match env::var(VARIABLE) {
            Ok(url) if !url.is_empty() => Ok(Self { url, said_by: "`LOCKS_URL`" }),
            Ok(_) | Err(VarError::NotPresent) => {
                Ok(Self { url: DEFAULT.to_owned(), said_by: "the default backend" })
            }
            Err(VarError::NotUnicode(_)) => Err(Failure::new(format!("`{VARIABLE}` is not UTF-8"))),
        }
    }

    /// The backend there.
    pub(crate) fn open(&self) -> Result<Backend, Failure> {
        let backend = locks::open(&self.url).map_err(|error| self.refused(error))?;
        if backend.about().capabilities.exclusion == Exclusion::Process {
            return Err(self.refused(format!(
                "`{}` is the memory of one process, which no other can see: name a backend that \
                 processes share, as in `--backend file:`",
                backend.about().name
            )));
        }
        Ok(backend)
    }

    /// The files there, where locks are files.
    pub(crate) fn open_files(&self) -> Result<FileBackend, Failure> {
        locks::open_files(&self.url).map_err(|error| self.refused(error))
    }

    fn refused(&self, why: impl std::fmt::Display) -> Failure {
        Failure::during(self.said_by, why)
    }
}
