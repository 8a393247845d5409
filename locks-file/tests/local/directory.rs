//! Directories that will not do (F7), and what is there for those that will.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

use locks_core::{Backend, ErrorKind};
use locks_file::FileBackend;

use crate::places::Temp;

fn refused(path: impl AsRef<std::path::Path>, kind: ErrorKind, saying: &str) {
    let error = FileBackend::new(path).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(saying), "{error}");
}

#[test]
fn f7_a_directory_is_made_for_its_user_alone() {
    let temp = Temp::new();
    let backend = FileBackend::new(temp.at("a/b")).unwrap();
    let mode = fs::metadata(temp.at("a/b")).unwrap().mode() & 0o777;
    assert_eq!(mode, 0o700);
    drop(Backend::new(backend.clone()).named("k").acquire().unwrap());
    let mode = fs::metadata(backend.path_of("k").unwrap()).unwrap().mode() & 0o777;
    assert_eq!(mode, 0o600);
}

#[test]
fn f7_links_files_and_open_directories_are_refused() {
    let temp = Temp::new();
    fs::create_dir(temp.at("real")).unwrap();
    symlink(temp.at("real"), temp.at("link")).unwrap();
    refused(temp.at("link"), ErrorKind::NotConfigured, "is a symbolic link, to `");
    refused(temp.at("link/"), ErrorKind::NotConfigured, "is a symbolic link, to `");
    // Its name is no text.
    symlink(temp.at("real"), temp.path().join(OsStr::from_bytes(b"l\xffnk"))).unwrap();
    let link = temp.path().join(OsStr::from_bytes(b"l\xffnk/"));
    refused(link, ErrorKind::NotConfigured, "is a symbolic link, to `");
    assert_eq!(fs::read_dir(temp.at("real")).unwrap().count(), 0, "it is untouched");
    fs::write(temp.at("file"), "").unwrap();
    refused(temp.at("file"), ErrorKind::NotConfigured, "is not a directory: name another");
    refused(temp.at("file/below"), ErrorKind::Unavailable, "cannot be used");
    fs::create_dir(temp.at("open")).unwrap();
    fs::set_permissions(temp.at("open"), Permissions::from_mode(0o777)).unwrap();
    refused(temp.at("open"), ErrorKind::NotConfigured, "can be written to by others (mode 777)");
    FileBackend::builder(temp.at("open")).of_several_users().open().unwrap();
}

#[test]
fn f7_what_several_users_share_is_as_open_as_its_directory() {
    let temp = Temp::new();
    fs::set_permissions(temp.path(), Permissions::from_mode(0o770)).unwrap();
    let backend = FileBackend::builder(temp.path()).of_several_users().open().unwrap();
    let _guard = Backend::new(backend).named("k").acquire().unwrap();
    let entries = fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap());
    let found = Vec::from_iter(
        entries.map(|entry| (entry.file_name(), entry.metadata().unwrap().mode() & 0o777)),
    );
    assert!(found.len() >= 2 && found.iter().all(|(_, mode)| *mode == 0o660), "{found:?}");
}

#[test]
fn f7_what_lies_where_the_books_should_be_is_named() {
    let temp = Temp::new();
    let books = temp.at("locks/.epochs");
    fs::create_dir_all(&books).unwrap();
    fs::set_permissions(temp.at("locks"), Permissions::from_mode(0o700)).unwrap();
    let saying = format!("`{}` is a directory, and is left alone: remove it", books.display());
    refused(temp.at("locks"), ErrorKind::Unavailable, &saying);
    fs::remove_dir(&books).unwrap();
    symlink(temp.at("elsewhere"), &books).unwrap();
    refused(temp.at("locks"), ErrorKind::Unavailable, "is a symbolic link, and is left alone");
    assert!(!temp.at("elsewhere").exists(), "nothing is made through it");
}

/// Of processes that are no more, which could not remove it (C13).
#[test]
fn c13_whoever_waits_removes_what_earlier_waiters_have_left() {
    let temp = Temp::new();
    let open = || FileBackend::new(temp.at("locks")).unwrap();
    let (ours, theirs) = (Backend::new(open()), Backend::new(open()));
    let left = temp.at("locks/.waiting-1-1-0");
    fs::write(&left, "").unwrap();
    let guard = ours.named("k").acquire().unwrap().into_owned();
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| {
            drop(theirs.named("k").wait(Duration::from_secs(20)).acquire().unwrap());
        });
        while left.exists() && !waiting.is_finished() {
            std::thread::yield_now();
        }
        assert!(!waiting.is_finished(), "it gave up, and nothing was removed");
        drop(guard);
        waiting.join().unwrap();
    });
}

/// Also what it waited for others of its own process counts (C2).
#[test]
fn c2_an_error_tells_the_whole_wait() {
    let temp = Temp::new();
    let open = || Backend::new(FileBackend::new(temp.at("locks")).unwrap());
    let (ours, theirs) = (open(), open());
    let _guard = ours.named("k").acquire().unwrap();
    let (first, second) = (Duration::from_millis(100), Duration::from_millis(150));
    let ask = |limit| theirs.named("k").wait(limit).acquire().unwrap_err();
    std::thread::scope(|threads| {
        threads.spawn(|| ask(first));
        // The other has the turn of the process by then, and is in the list for that.
        while theirs.list().unwrap().iter().all(|lock| lock.waiters.is_empty()) {
            std::thread::yield_now();
        }
        let text = ask(second).to_string();
        let told = text.split_once("after ").unwrap().1.split_once(": ").unwrap().0;
        let told = told.strip_suffix(" ms").map(|millis| millis.parse::<u64>().unwrap());
        assert!(told.is_none_or(|millis| millis >= 150), "{text}");
    });
}

#[test]
fn f5_without_notifications_waiters_look_by_themselves() {
    let temp = Temp::new();
    let open = || FileBackend::builder(temp.path()).without_notifications().open();
    fs::set_permissions(temp.path(), Permissions::from_mode(0o700)).unwrap();
    let (ours, theirs) = (Backend::new(open().unwrap()), Backend::new(open().unwrap()));
    let guard = ours.named("k").acquire().unwrap().into_owned();
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| {
            drop(theirs.named("k").wait(Duration::from_secs(20)).acquire().unwrap());
        });
        while theirs.list().unwrap().iter().all(|lock| lock.waiters.is_empty()) {
            std::thread::yield_now();
        }
        drop(guard);
        waiting.join().unwrap();
    });
}
