//! The file's own lock, which other users of `flock` may have.

use std::collections::HashMap;
use std::fs::{File, Permissions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use locks_core::fork::PerProcess;
use locks_core::forked::begun_by_parent;
use locks_core::{ErrorKind, HolderInfo, LockError, Token, Wait};

use super::place::ResolvedFile;
use crate::directory::Inode;
use crate::kernel::{self, LockTable, Nanos, Opened, generation};
use crate::record::stranger;
use crate::watch::{Signal, pause, watch};

/// How often to look without being told.
const SAFETY_POLL: Nanos = 50_000_000;
const POLL: Nanos = 2_000_000;

/// How an attempt on the file itself ended.
pub(super) enum Seized {
    Locked(FileLock),
    /// Another file is at the path by now.
    Replaced,
}

/// The files that are locked, for guards that nest in others: those have the file's lock already.
static LOCKED: PerProcess<Mutex<Locks>> = PerProcess::new();

type Locks = HashMap<Nest, Weak<Locked>>;

/// A file and the token of the grant by which it is locked: all guards of a nest have the same.
type Nest = (Inode, Token);

/// P1: as long as this is there, the file's `flock` is ours. The guards of a nest share it, and the
/// last of them unlocks.
#[derive(Clone)]
pub(super) struct FileLock(Arc<Locked>);

struct Locked {
    /// P2: it is closed in a forked child, which would keep the lock.
    file: Opened,
    /// `None`: it has been unlocked.
    nest: Option<Nest>,
    generation: u64,
}

impl FileLock {
    /// Of a file that has just been locked by this.
    fn new(file: Opened, nest: Nest) -> Self {
        let lock = Arc::new(Locked { file, nest: Some(nest), generation: generation() });
        locked().insert(nest, Arc::downgrade(&lock));
        Self(lock)
    }

    pub(super) fn is_of(&self, file: Inode) -> bool {
        self.0.nest.is_some_and(|nest| nest.0 == file)
    }

    /// Whether it is this process's, and no other guard shares it.
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1 && self.0.generation == generation()
    }

    /// Unlocks the file, unless other guards of the nest need it. In a forked child it is the
    /// parent's.
    pub(super) fn unlock(self) -> io::Result<()> {
        Arc::into_inner(self.0).map_or(Ok(()), |mut last| last.unlock())
    }
}

impl Locked {
    fn unlock(&mut self) -> io::Result<()> {
        let Some(nest) = self.nest.take() else { return Ok(()) };
        if self.generation != generation() {
            return Ok(());
        }
        let mut locked = locked();
        // The next one of this nest may have come between.
        if locked.get(&nest).is_some_and(|lock| lock.strong_count() == 0) {
            locked.remove(&nest);
        }
        drop(locked);
        fs4::FileExt::unlock(&*self.file)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Should it fail, the file is closed next, which unlocks as well.
        let _ = self.unlock();
    }
}

/// Locks the file, as soon as other users of `flock` let go of it.
pub(super) async fn seize(
    place: &ResolvedFile,
    file: &Opened,
    shared: bool,
    token: Token,
    wait: Wait,
    deadline: Option<Nanos>,
) -> Result<Seized, LockError> {
    let nest = (place.inode, token);
    if let Some(outer) = locked().get(&nest).and_then(Weak::upgrade) {
        return Ok(Seized::Locked(FileLock(outer)));
    }
    let lock = match place.open_for_lock(&place.path, file, !shared) {
        Ok(Some(lock)) => lock,
        Err(error) if place.check().is_ok() => return Err(place.failed("opened", error)),
        Ok(None) | Err(_) => return Ok(Seized::Replaced),
    };
    let begun = generation();
    let signal = Arc::<Signal>::default();
    let mut watching = None;
    loop {
        let tried = match shared {
            true => fs4::FileExt::try_lock_shared(&*lock),
            false => fs4::FileExt::try_lock(&*lock),
        };
        match tried {
            Ok(()) => break,
            Err(fs4::TryLockError::WouldBlock) => {}
            Err(fs4::TryLockError::Error(error)) => return Err(place.failed("locked", error)),
        }
        let now = kernel::now();
        if wait == Wait::Try || deadline.is_some_and(|deadline| deadline <= now) {
            let kind = if wait == Wait::Try { ErrorKind::Contended } else { ErrorKind::Timeout };
            return Err(LockError::new(kind, place.name()));
        }
        if watching.is_none() {
            watching = watch(&lock, &signal, false);
            if watching.is_some() {
                // It may have become free before it was watched.
                continue;
            }
        }
        let poll = if watching.is_some() { SAFETY_POLL } else { POLL };
        let by_itself = now + poll;
        pause(&signal, deadline.map_or(by_itself, |deadline| deadline.min(by_itself))).await;
        if begun != generation() {
            // P2: its number may stand for something else here.
            return Err(begun_by_parent(&place.name()));
        }
        if place.check().is_err() {
            return Ok(Seized::Replaced);
        }
    }
    if place.check().is_err() {
        return Ok(Seized::Replaced);
    }
    Ok(Seized::Locked(FileLock::new(lock, nest)))
}

/// Puts a new file with this content in the place of a locked one, and has it locked before anybody
/// else can open it. The old one stays locked. The directory, which is to be synced next, is what
/// was opened before.
pub(super) fn put_in_place(
    place: &ResolvedFile,
    old: &Opened,
    token: Token,
    content: &[u8],
) -> io::Result<(Opened, FileLock, File)> {
    // Where it cannot be opened, nothing is changed.
    let directory = File::open(place.path.parent().unwrap_or(Path::new("/")))?;
    let aside = Aside::make(&place.path)?;
    // For it to be opened once more, whatever the umask.
    aside.file.set_permissions(Permissions::from_mode(0o600))?;
    let lock = place.open_for_lock(aside.path(), &aside.file, true)?;
    let lock = lock.ok_or(io::ErrorKind::NotFound)?;
    let metadata = old.metadata()?;
    let mut file = &*aside.file;
    file.write_all(content)?;
    file.rewind()?;
    // Before the permissions, some of which it takes away.
    let _ = std::os::unix::fs::fchown(file, Some(metadata.uid()), Some(metadata.gid()));
    file.set_permissions(metadata.permissions())?;
    file.sync_all()?;
    fs4::FileExt::try_lock(&*lock).map_err(io::Error::from)?;
    let nest = (aside.file.inode, token);
    let file = aside.move_to(&place.path)?;
    Ok((file, FileLock::new(lock, nest), directory))
}

/// A new file beside another, which is removed unless it takes the other's place.
struct Aside {
    file: Opened,
    path: Option<PathBuf>,
}

impl Aside {
    fn make(of: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = of.file_name().unwrap_or_default().to_string_lossy();
        // The name that a file system can keep is not longer than this.
        let name = name.chars().take(50).collect::<String>();
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!(".{name}.{}-{number}.new", std::process::id());
            let path = of.with_file_name(name);
            let mut options = File::options();
            let options = options.read(true).write(true).create_new(true).mode(0o600);
            match options.open(&path) {
                Ok(file) => return Ok(Self { file: Opened::of_users(file)?, path: Some(path) }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn path(&self) -> &Path {
        self.path.as_deref().expect("it has not been moved")
    }

    fn move_to(mut self, path: &Path) -> io::Result<Opened> {
        let file = self.file.duplicate()?;
        std::fs::rename(self.path(), path)?;
        self.path = None;
        Ok(file)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Should it fail, it stays, under a name that says whose it is.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Whoever has the file, as far as the kernel tells.
pub(super) fn holders(place: &ResolvedFile, shared: bool) -> Vec<HolderInfo> {
    let (Ok(table), Some(inode)) = (LockTable::read(), place.files.in_table(place.inode)) else {
        return Vec::new();
    };
    let grips = table.of(inode).filter(|grip| !grip.waits && (!shared || grip.exclusive));
    grips.map(|grip| stranger(grip.pid, grip.exclusive)).collect()
}

fn locked() -> MutexGuard<'static, Locks> {
    LOCKED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileBackend, lock_paths};

    /// How many of these files are remembered as locked.
    fn remembered(files: &[PathBuf]) -> usize {
        let inodes = files.iter().filter_map(|file| std::fs::metadata(file).ok());
        let inodes = Vec::from_iter(inodes.map(|metadata| metadata.ino()));
        locked().keys().filter(|(file, _)| inodes.contains(&file.ino)).count()
    }

    #[test]
    fn nothing_is_remembered_of_a_file_that_is_locked_no_more() {
        let dir = std::env::temp_dir().join(format!("locks-seize-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let files = FileBackend::new(dir.join("locks")).unwrap();
        let mut paths = ["a", "b"].map(|name| dir.join(name));
        paths.iter().for_each(|path| std::fs::write(path, "").unwrap());
        // In their order.
        paths.sort_by_key(|path| std::fs::metadata(path).unwrap().ino());
        let both = || lock_paths(&paths).within(&files);
        let stranger = File::open(&paths[1]).unwrap();
        fs4::FileExt::lock(&stranger).unwrap();
        assert!(both().wait(false).acquire().unwrap_err().is_contended());
        assert_eq!(remembered(&paths), 0);
        drop(stranger);
        let mut guard = both().acquire().unwrap();
        assert_eq!(remembered(&paths), 2);
        let old = std::fs::hard_link(&paths[0], dir.join("old")).map(|()| dir.join("old"));
        guard.files_mut()[0].replace(b"new").unwrap();
        assert_eq!(remembered(&[old.unwrap()]), 0, "the file that was replaced");
        assert_eq!(remembered(&paths), 2);
        drop(guard);
        assert_eq!(remembered(&paths), 0);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
