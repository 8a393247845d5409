//! Row 24: what may lie where a lock file should be, and whose the directory may be.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::directory::Directory;
use crate::peer::{Peer, Refused};

/// Puts something at a path; whether it can be done here.
type Plant = fn(&Path) -> bool;

/// A user that is not the one of the test.
const NOBODY: u32 = 65534;

const PLANTS: [(&str, Plant); 9] = [
    ("a directory", |file| fs::create_dir(file).is_ok()),
    ("a directory with something in it", |file| {
        fs::create_dir(file).unwrap();
        fs::write(file.join("inner"), "kept").is_ok()
    }),
    ("a FIFO", |file| made("mkfifo", &[], file, &[])),
    ("a device", |file| made("mknod", &[], file, &["c", "1", "3"])),
    ("a socket", |file| UnixListener::bind(file).is_ok()),
    ("a symlink to a file", |file| {
        let target = file.with_file_name("target");
        fs::write(&target, "kept").unwrap();
        symlink(target, file).is_ok()
    }),
    ("a symlink to nothing", |file| symlink(file.with_file_name("nothing"), file).is_ok()),
    ("a symlink to a directory", |file| symlink("..", file).is_ok()),
    ("a file of another user", |file| {
        fs::write(file, "kept").unwrap();
        chown(file, Some(NOBODY), Some(NOBODY)).is_ok()
    }),
];

fn made(program: &str, before: &[&str], file: &Path, after: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(before).arg(file).args(after).stderr(std::process::Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Everything that can be seen of what is at a path without opening anything but a file.
fn seen(path: &Path) -> (u64, u32, u32, i64, Option<String>) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let content = metadata.is_file().then(|| fs::read_to_string(path).unwrap());
    (metadata.ino(), metadata.mode(), metadata.uid(), metadata.mtime_nsec(), content)
}

/// Refused in time, by an error that names the place and blames nobody.
#[track_caller]
fn assert_refused(peer: &mut Peer, key: &str, path: &Path, what: &str) {
    for options in ["", "no-wait", "wait=60000", "shared", "steal=1"] {
        let asked = peer.begin(key, options);
        assert!(asked.reply_within(Duration::from_secs(5)).is_some(), "row 24: {what}: it hangs");
        assert_fault(&asked.refused(), path, what);
    }
}

/// An error about the place, and not one that says that somebody else has it.
#[track_caller]
pub(crate) fn assert_fault(refused: &Refused, path: &Path, what: &str) {
    let kinds = ["Io", "Unavailable", "NotConfigured", "Unauthorized", "Unsupported"];
    assert!(kinds.contains(&refused.kind.as_str()), "{what}: {refused:?}");
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(refused.text.contains(name), "{what}: `{}` does not say where", refused.text);
}

#[test]
fn row_24_planted_at_the_path_of_a_lock() {
    for (what, plant) in PLANTS {
        let directory = Directory::new();
        let mut peer = Peer::start(&directory);
        // The directory has been used before.
        peer.assert_free("other");
        let file = directory.file_of("k");
        if !plant(&file) {
            eprintln!("row 24: {what} cannot be made here");
            continue;
        }
        let target = file.with_file_name("target");
        let before = (seen(&file), target.exists().then(|| seen(&target)));
        assert_refused(&mut peer, "k", &file, what);
        // All or none: what comes before it is given back.
        let refused = peer.begin_all(&["a", "k"], "").refused();
        assert_fault(&refused, &file, what);
        peer.assert_free("a");
        let after = (seen(&file), target.exists().then(|| seen(&target)));
        assert_eq!(before, after, "row 24: {what} was touched");
        assert!(!file.with_file_name("nothing").exists(), "row 24: made through a symlink");
        if file.is_dir() && !file.is_symlink() {
            fs::remove_dir_all(&file).unwrap();
        } else {
            fs::remove_file(&file).unwrap();
        }
        peer.assert_free("k");
    }
}

/// The same for the device: nothing is written to it, and cleaning leaves all of it alone.
#[test]
fn row_24_cleaning_leaves_alone_what_is_no_lock_file() {
    for (what, plant) in PLANTS {
        let directory = Directory::new();
        let client = directory.client();
        let file = directory.file_of("k");
        if !plant(&file) {
            eprintln!("row 24: {what} cannot be made here");
            continue;
        }
        let before = seen(&file);
        // It may complain, but neither hang nor touch it.
        let _ = client.clean(Duration::ZERO);
        assert!(fs::symlink_metadata(&file).is_ok(), "row 24: {what} was removed");
        assert_eq!(before, seen(&file), "row 24: {what} was touched");
    }
}

#[test]
fn row_24_a_directory_of_another_user() {
    let directory = Directory::new();
    if let Err(error) = chown(directory.path(), Some(NOBODY), Some(NOBODY)) {
        return eprintln!("row 24: no directory of another user can be made here: {error}");
    }
    let refused = crate::places::outcome(&mut crate::places::program_in(directory.path()));
    let refused = refused.expect_err("row 24: the directory is another user's");
    assert_fault(&refused, directory.path(), "a directory of another user");
    assert_eq!(directory.names(), [""; 0], "row 24: something was made in it");
}

/// Where others may write, others may plant: made by us, it is for us alone (F7).
#[test]
fn f7_what_is_made_is_private() {
    let directory = Directory::missing();
    let backend = directory.backend();
    let guard = backend.named("k").acquire().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(directory.path()), 0o700);
    for name in directory.names() {
        let path = directory.path().join(&name);
        assert_eq!(mode(&path) & 0o077, 0, "F7: others can open `{name}`");
    }
    let mut content = String::new();
    let mut file = fs::File::open(directory.file_of("k")).unwrap();
    // It is for people to read as well, or it is not text at all.
    let _ = file.read_to_string(&mut content);
    drop(guard);
}
