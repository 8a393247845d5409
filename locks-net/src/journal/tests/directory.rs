//! Who may serve a directory, and which ones will do (N3, F7, FAULTS 15, 23, 24).

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use locks_core::ErrorKind;

use super::scratch::{BOOT, Scratch};
use super::*;

/// FAULTS 15.
#[test]
fn n3_a_directory_is_served_once() {
    let scratch = Scratch::new("once");
    let (store, _) = scratch.start();
    let error = scratch.refusal();
    assert!(error.is_contended());
    let pid = std::process::id();
    assert!(error.to_string().contains(&format!("this process ({pid})")), "{error}");
    assert_eq!(serving_pid(&scratch.0), Some(pid));
    // By whatever name.
    let link = Scratch::new("once-link");
    fs::create_dir(&link.0).unwrap();
    symlink(&scratch.0, link.file("up")).unwrap();
    let around = link.file("up/../").join(scratch.0.file_name().unwrap());
    assert!(Store::open_in(&around, false, BOOT, at(0)).unwrap_err().is_contended());
    drop(store);
    assert_eq!(serving_pid(&scratch.0), None);
    scratch.start();
}

#[test]
fn n3_who_is_no_longer_in_charge_promises_nothing() {
    let scratch = Scratch::new("charge");
    let (mut store, _) = scratch.start();
    assert!(store.is_in_charge().unwrap());
    fs::remove_file(scratch.file("server.lock")).unwrap();
    assert!(!store.is_in_charge().unwrap());
    let error = store.cover(Token::new(7), Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("server.lock"), "{error}");
    store.compact(&[]).unwrap_err();
    fs::write(scratch.file("server.lock"), b"").unwrap();
    assert!(!store.is_in_charge().unwrap());
}

/// FAULTS 23, 24.
#[test]
fn f7_what_is_no_directory_of_ones_own_is_refused_untouched() {
    let scratch = Scratch::new("unfit");
    fs::create_dir(&scratch.0).unwrap();
    let (real, link, file) = (scratch.file("real"), scratch.file("link"), scratch.file("file"));
    fs::create_dir(&real).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o770)).unwrap();
    symlink(&real, &link).unwrap();
    fs::write(&file, b"").unwrap();
    let mut cases = vec![
        (link.join(""), ErrorKind::NotConfigured, "symbolic link"),
        (file.clone(), ErrorKind::NotConfigured, "not a directory: name another"),
        (real.clone(), ErrorKind::NotConfigured, "chmod 700"),
        (file.join("below"), ErrorKind::Unavailable, "cannot be used"),
        (PathBuf::from("/proc/locks-net"), ErrorKind::Unavailable, "cannot be used"),
    ];
    if rustix::process::geteuid().is_root() {
        let foreign = scratch.file("foreign");
        fs::create_dir(&foreign).unwrap();
        std::os::unix::fs::chown(&foreign, Some(4711), None).unwrap();
        cases.push((foreign, ErrorKind::NotConfigured, "belongs to user 4711"));
    }
    for (path, kind, text) in cases {
        let error = Store::open_in(&path, false, BOOT, at(0)).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    assert_eq!(fs::read_dir(&real).unwrap().count(), 0);
}

/// FAULTS 24.
#[test]
fn f7_what_is_no_file_of_ones_own_is_refused_untouched() {
    let scratch = Scratch::new("planted");
    drop(scratch.start());
    for name in ["journal", "tokens", "server.lock"] {
        let path = scratch.file(name);
        let aside = scratch.file("aside");
        fs::rename(&path, &aside).unwrap();
        symlink(&aside, &path).unwrap();
        let error = scratch.refusal();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("symbolic link"), "{error}");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(scratch.refusal().to_string().contains("is a directory"));
        fs::remove_dir(&path).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(scratch.refusal().to_string().contains("no regular file"));
        fs::remove_file(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
    }
    scratch.start();
}
