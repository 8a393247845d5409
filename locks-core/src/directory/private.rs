//! Directories and files that their owner can use, and nobody else, whatever the umask (F12).
//!
//! A umask can take the owner's own rights as well (0177, 0777), and what is made under such a one
//! is what all others of the user find. So modes are looked at afterwards, and set where something
//! is missing.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, chmodat, fchmod, fstat, openat, statat};
use rustix::io::Errno;

/// How long another process may take between making a directory and giving it its mode.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(1);

/// Makes a directory that is this user's alone, if there is none, and each one above it that is
/// missing.
///
/// # Errors
/// The system's error for the first one that cannot be made.
pub fn make_private(directory: &Path) -> io::Result<()> {
    match make_one(directory) {
        // What is above is missing, or is being made just now.
        Err(error) if matches!(error, Errno::NOENT | Errno::ACCESS) => {
            let above = directory.parent().filter(|above| !above.as_os_str().is_empty());
            make_private(above.ok_or(error)?)?;
            Ok(make_one(directory)?)
        }
        outcome => Ok(outcome?),
    }
}

/// Waits for another process of this user that is making the directory, or one above it, this
/// instant. Makes none.
pub fn await_usable(directory: &Path) {
    let above = directory.ancestors().collect::<Vec<_>>();
    above.into_iter().rev().for_each(until_usable);
}

fn make_one(directory: &Path) -> Result<(), Errno> {
    match rustix::fs::mkdir(directory, Mode::RWXU) {
        Ok(()) => restore(directory),
        Err(Errno::EXIST) => {
            until_usable(directory);
            Ok(())
        }
        outcome => outcome,
    }
}

/// Gives a directory that was made just now the rights that the umask has taken.
fn restore(directory: &Path) -> Result<(), Errno> {
    let stat = statat(CWD, directory, AtFlags::SYMLINK_NOFOLLOW)?;
    if Mode::from_raw_mode(stat.st_mode).contains(Mode::RWXU) {
        return Ok(());
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(CWD, directory, flags, Mode::empty()) {
        Ok(opened) => fchmod(opened, Mode::RWXU),
        // It cannot even be read. Whoever could put a link here could as well move the directory
        // away.
        Err(Errno::ACCESS) => chmodat(CWD, directory, Mode::RWXU, AtFlags::empty()),
        Err(error) => Err(error),
    }
}

/// Waits for another process of this user that has made the directory and not set its mode yet. One
/// that stays as it is was meant to be so.
fn until_usable(directory: &Path) {
    let deadline = Instant::now() + PATIENCE;
    let is_unusable = || {
        statat(CWD, directory, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::Directory
                && is_ours(&stat)
                && !Mode::from_raw_mode(stat.st_mode).contains(Mode::RWXU)
        })
    };
    while is_unusable() && Instant::now() < deadline {
        thread::sleep(PAUSE);
    }
}

/// Opens a file, making it with `mode` if `flags` say so. What the umask takes of its owner's
/// rights to read and write is given back, also to an empty file that another process has left
/// without.
///
/// # Errors
/// Those of the system.
pub fn open_private(
    within: impl AsFd,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let own = Mode::RUSR | Mode::WUSR;
    let file = match openat(&within, path, flags, mode) {
        Err(Errno::ACCESS) => {
            // Made this instant by a process that has yet to set its mode, or had no time left to
            // do so.
            if lacks_rights(&within, path, own) {
                chmodat(&within, path, own, AtFlags::empty())?;
            }
            openat(&within, path, flags, mode)
        }
        outcome => outcome,
    }?;
    if flags.contains(OFlags::CREATE) {
        let stat = fstat(&file)?;
        let found = Mode::from_raw_mode(stat.st_mode);
        if !found.contains(own) && is_ours(&stat) {
            fchmod(&file, found | own)?;
        }
    }
    Ok(file)
}

/// Whether it is a file of this user, with nothing in it yet, that lacks rights which its owner
/// needs.
fn lacks_rights(within: impl AsFd, path: &Path, own: Mode) -> bool {
    statat(within, path, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_size == 0
            && is_ours(&stat)
            && !Mode::from_raw_mode(stat.st_mode).contains(own)
    })
}

fn is_ours(stat: &rustix::fs::Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw()
}
