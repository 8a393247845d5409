//! Which backend is asked.

use std::env::{self, VarError};

use locks::backend::Exclusion;
use locks::file::FileBackend;
use locks::net::NetBackend;
use locks::{Backend, ProcessInfo};

use crate::status::Failure;

/// Where nobody says otherwise: the default directory of the user.
const DEFAULT: &str = "file:";

const VARIABLE: &str = "LOCKS_URL";

/// What names a backend: `--backend`, else `LOCKS_URL`, else the default.
#[derive(Clone, Debug)]
pub(crate) struct BackendChoice {
    /// `None`: nobody has said.
    url: Option<String>,
    /// For errors, which do not repeat the URL.
    said_by: &'static str,
}

/// A backend that has been opened.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) backend: Backend,
    /// The same, where it is a server.
    pub(crate) server: Option<NetBackend>,
}

impl BackendChoice {
    pub(crate) fn choose(option: Option<String>) -> Result<Self, Failure> {
        if let Some(url) = option {
            return Ok(Self { url: Some(url), said_by: "`--backend`" });
        }
        match env::var(VARIABLE) {
            Ok(url) => Ok(Self { url: Some(url), said_by: "`LOCKS_URL`" }),
            Err(VarError::NotPresent) => Ok(Self { url: None, said_by: "the default backend" }),
            Err(VarError::NotUnicode(_)) => Err(Failure::new(format!("`{VARIABLE}` is not UTF-8"))),
        }
    }

    /// Opens the backend to acquire locks as this party. Without a URL it is this process's
    /// default, which has to be one that other processes share.
    pub(crate) fn open(&self, party: &ProcessInfo) -> Result<Opened, Failure> {
        // A server hears of processes, not of their requests.
        let process = party.process.as_deref().unwrap_or_default();
        let label = party.label.as_deref().unwrap_or(process);
        let opened = match &self.url {
            Some(url) => locks::open_labelled(url, label, process),
            None => locks::open_by_default(DEFAULT).map(|backend| (backend, None)),
        };
        let (backend, server) = opened.map_err(|error| self.refused(error))?;
        Ok(Opened { backend: self.shared(backend)?, server })
    }

    /// Opens the backend to list and to release the locks of others. Without a URL it is the one
    /// that running programs use, if there is one; listing starts no server.
    pub(crate) fn look(&self) -> Result<Opened, Failure> {
        let in_use = match &self.url {
            Some(_) => None,
            None => locks::default_in_use().map_err(|error| self.refused(error))?,
        };
        let url = self.url.as_deref().or(in_use.as_deref()).unwrap_or(DEFAULT);
        let (backend, server) = locks::open_to_look(url).map_err(|error| self.refused(error))?;
        Ok(Opened { backend: self.shared(backend)?, server })
    }

    /// The files there, to hold locks that another program keeps: with what the URL says for
    /// requests, and as they are.
    pub(crate) fn open_to_keep(&self) -> Result<(Opened, FileBackend), Failure> {
        let opened = locks::open_files_to_keep(self.url.as_deref());
        let (backend, files) = opened.map_err(|error| self.refused(error))?;
        Ok((Opened { backend, server: None }, files))
    }

    /// The files there, where locks are files.
    pub(crate) fn open_files(&self) -> Result<FileBackend, Failure> {
        let url = self.url.as_deref().unwrap_or(DEFAULT);
        locks::open_files(url).map_err(|error| self.refused(error))
    }

    fn shared(&self, backend: Backend) -> Result<Backend, Failure> {
        if backend.about().capabilities.exclusion == Exclusion::Process {
            return Err(self.refused(format!(
                "`{}` is the memory of one process, which no other can see: name a backend that \
                 processes share, as in `--backend file:`",
                backend.about().name
            )));
        }
        Ok(backend)
    }

    fn refused(&self, why: impl std::fmt::Display) -> Failure {
        match &self.url {
            Some(_) => Failure::during(self.said_by, why),
            None => Failure::new(format!(
                "{}: {why}; `--backend` or `{VARIABLE}` name another one",
                self.said_by
            )),
        }
    }
}
