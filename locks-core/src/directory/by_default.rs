//! Which backend the processes of this user have by default, where two of equal reach could be it.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use super::{make_private, open_private};
use crate::{ErrorKind, LockError};

/// The file, in the default directory.
const NAME: &str = ".default";
/// How long others may take to write or read a word.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(1);

/// Says, as long as it is kept, that this process has a certain backend by default.
///
/// Two backends that reach equally far and do not exclude each other can both be somebody's
/// default: one program is built with one of them, a second with the other. Whoever is the first
/// says which it is.
///
/// I1: as long as a process has the file locked (`flock`, shared), what is written there is the
/// default of all who have: it is written under the exclusive lock only.
#[derive(Debug)]
pub struct DefaultMarker {
    file: File,
}

impl DefaultMarker {
    /// Says in `directory`, which is made if there is none, that `backend` is the default here.
    ///
    /// # Errors
    /// `NotConfigured` if other processes have another; what keeps the file from being used.
    pub fn keep(directory: &Path, backend: &str) -> Result<Self, LockError> {
        let path = directory.join(NAME);
        let mut file = make_private(directory)
            .and_then(|()| open(directory, OFlags::CREATE))
            .map_err(|error| unusable(&path, &error))?;
        match Self::keep_in(&mut file, backend).map_err(|error| unusable(&path, &error))? {
            None => Ok(Self { file }),
            Some(other) => Err(another(&path, backend, &other)),
        }
    }

    /// Returns the default backend that running processes have agreed on; `None` if none runs.
    ///
    /// # Errors
    /// What keeps the file from being read.
    pub fn in_use(directory: &Path) -> Result<Option<String>, LockError> {
        let read = || -> io::Result<Option<String>> {
            let mut file = match open(directory, OFlags::empty()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                file => file?,
            };
            let deadline = Instant::now() + PATIENCE;
            while !lock(&file, FlockOperation::NonBlockingLockExclusive)? {
                if lock(&file, FlockOperation::NonBlockingLockShared)? {
                    return content(&mut file).map(Some);
                }
                pause(deadline)?;
            }
            Ok(None)
        };
        read().map_err(|error| unusable(&directory.join(NAME), &error))
    }

    /// Has it be kept by the program that this process executes next, if there is one.
    ///
    /// # Errors
    /// Those of the system.
    pub fn keep_across_exec(&self) -> Result<(), LockError> {
        rustix::io::fcntl_setfd(&self.file, rustix::io::FdFlags::empty()).map_err(|error| {
            let why = format!("`{NAME}` cannot be handed on: {error}");
            LockError::new(ErrorKind::Io, "").with_message(why)
        })
    }

    /// The other one that is in use, if so; otherwise the file has been locked.
    fn keep_in(file: &mut File, backend: &str) -> io::Result<Option<String>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if lock(file, FlockOperation::NonBlockingLockExclusive)? {
                file.set_len(0)?;
                file.rewind()?;
                file.write_all(backend.as_bytes())?;
            }
            // From exclusive to shared is two steps, and whoever comes between them has written
            // another name: so it is read, whoever wrote it.
            if lock(file, FlockOperation::NonBlockingLockShared)? {
                let found = content(file)?;
                if found == backend {
                    return Ok(None);
                }
                // Empty: whoever was about to write it is dead.
                if !found.is_empty() {
                    return Ok(Some(found));
                }
                flock(&*file, FlockOperation::Unlock)?;
            }
            pause(deadline)?;
        }
    }
}

/// Tries to lock the file; `false` if another process has it locked. (`File::try_lock` needs Rust
/// 1.89.)
fn lock(file: &File, how: FlockOperation) -> io::Result<bool> {
    loop {
        return match flock(file, how) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(Errno::INTR) => continue,
            Err(error) => Err(error.into()),
        };
    }
}

fn content(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.take(64).read_to_string(&mut text)?;
    Ok(text)
}

fn pause(deadline: Instant) -> io::Result<()> {
    if Instant::now() >= deadline {
        let why = "another process has it locked and does not go on; it may have been stopped";
        return Err(io::Error::new(io::ErrorKind::TimedOut, why));
    }
    thread::sleep(PAUSE);
    Ok(())
}

/// Opens the file. What another user can have put there is refused: in `/var/tmp` anybody can make
/// a directory of our name.
fn open(directory: &Path, flags: OFlags) -> io::Result<File> {
    let user = rustix::process::geteuid().as_raw();
    let foreign = |what: &str| {
        io::Error::other(format!("{what} belongs to another user, or others may write to it"))
    };
    let within = rustix::fs::open(
        directory,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let stat = rustix::fs::fstat(&within)?;
    if stat.st_uid != user || stat.st_mode & 0o022 != 0 {
        return Err(foreign("its directory"));
    }
    let flags = flags | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = open_private(&within, Path::new(NAME), flags, Mode::RUSR | Mode::WUSR)?;
    let stat = rustix::fs::fstat(&file)?;
    if stat.st_uid != user || FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(foreign("it is no file, or"));
    }
    Ok(File::from(file))
}

#[cold]
fn another(path: &Path, backend: &str, other: &str) -> LockError {
    let path = path.display();
    let why = format!(
        "`{other}` is the default backend of other processes of this user that run now, and that of this \
         one would be `{backend}`: they would not exclude each other; set `LOCKS_URL` to one of the two \
         for all of them (`fuser {path}` tells who they are)"
    );
    LockError::new(ErrorKind::NotConfigured, "").with_message(why)
}

#[cold]
fn unusable(path: &Path, error: &io::Error) -> LockError {
    let path = path.display();
    let why = format!(
        "`{path}`, which says what backend the processes of this user have by default, cannot be used: \
         {error}"
    );
    LockError::new(ErrorKind::Unavailable, "").with_message(why)
}
