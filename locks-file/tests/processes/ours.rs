//! What is ours in a directory, and what is left alone (F9, row 42): lock files may lie among the
//! files of a project, some of which have names like theirs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::directory::{Directory, until};
use crate::peer::Peer;

/// Files of a project, whose names are those of keys.
const FOREIGN: [(&str, &str); 5] = [
    ("yarn", "# yarn lockfile v1\n"),
    ("poetry", "[[package]]\n"),
    ("flake", "{\"nodes\":{}}"),
    ("locks", "locksmith: 1\n"),
    ("binary", "\u{1}\0\0\0"),
];

fn project() -> Directory {
    let directory = Directory::new();
    for (key, content) in FOREIGN {
        fs::write(directory.path().join(format!("{key}.lock")), content).unwrap();
    }
    fs::write(directory.path().join("Cargo.lock"), "version = 4\n").unwrap();
    directory
}

/// All that tells whether somebody has touched a file.
fn seen(file: &Path) -> (Vec<u8>, u64, u32, i64, i64) {
    let metadata = fs::metadata(file).unwrap();
    let (changed, written) = (metadata.ctime_nsec(), metadata.mtime_nsec());
    (fs::read(file).unwrap(), metadata.ino(), metadata.mode(), changed, written)
}

/// Refused at once, whatever is asked, by an error that names the file and says what to do.
#[track_caller]
fn assert_refused(peer: &mut Peer, key: &str, file: &Path) {
    let name = file.to_str().unwrap();
    for options in ["", "no-wait", "wait=60000", "shared", "steal=1", "least=1000"] {
        let asked = peer.begin(key, options);
        assert!(asked.reply_within(Duration::from_secs(5)).is_some(), "F9: {key} {options} hangs");
        let refused = asked.refused();
        assert_eq!(refused.kind, "Io", "F9: {refused:?}");
        let says = [name, "no lock file", "file:///dir"];
        assert!(says.iter().all(|says| refused.text.contains(says)), "F9: {refused:?}");
    }
}

#[test]
fn row_42_files_of_a_project_are_left_alone() {
    let directory = project();
    let file = |key: &str| directory.path().join(format!("{key}.lock"));
    let before = FOREIGN.map(|(key, _)| seen(&file(key)));
    let [mut peer, mut other] = Peer::start_many(&directory);
    // Locks are kept beside them.
    let held = peer.take("k", "");
    other.contended("k", "");
    for (key, _) in FOREIGN {
        // Somebody else's lock on it is no business of ours either.
        let opened = fs::File::open(file(key)).unwrap();
        fs4::FileExt::lock(&opened).unwrap();
        assert_refused(&mut peer, key, &file(key));
        assert_eq!(peer.list(key), "", "F9: {key}");
        let refused = peer.evict(key, 1).unwrap_err();
        assert!(refused.text.contains(&format!("{key}.lock")), "F9: {refused:?}");
        drop(opened);
        assert_refused(&mut peer, key, &file(key));
    }
    assert_eq!(peer.clean(), "removed 0 kept 1", "F9");
    peer.release(held).unwrap();
    assert_eq!(peer.clean(), "removed 1 kept 0", "F9");
    assert_eq!(FOREIGN.map(|(key, _)| seen(&file(key))), before, "F9");
    assert_eq!(fs::read_to_string(directory.path().join("Cargo.lock")).unwrap(), "version = 4\n");
}

/// An empty one may be a guest's; once a lock has been kept in it, it is marked as ours.
#[test]
fn f9_an_empty_file_in_a_project_will_do() {
    let directory = project();
    let file = directory.path().join("k.lock");
    fs::write(&file, "").unwrap();
    let [mut peer, mut other] = Peer::start_many(&directory);
    assert_eq!(peer.clean(), "removed 0 kept 1", "F9: an empty file is never removed");
    let held = peer.take("k", "");
    other.contended("k", "");
    peer.release(held).unwrap();
    // Torn, it is ours still.
    let whole = fs::read(&file).unwrap();
    for length in [3, 7, 20, whole.len() - 1] {
        fs::write(&file, &whole[..length]).unwrap();
        assert!(other.assert_free("k") > held.token, "C7: cut to {length}");
    }
    assert_eq!(peer.clean(), "removed 1 kept 0", "F9");
}

/// What is written into it while somebody waits is not written over.
#[test]
fn f9_a_file_that_becomes_somebody_elses_while_it_is_waited_for() {
    let directory = project();
    let file = directory.path().join("k.lock");
    for options in ["", "shared"] {
        fs::write(&file, "").unwrap();
        let guest = fs::File::options().write(true).open(&file).unwrap();
        fs4::FileExt::lock(&guest).unwrap();
        let mut peer = Peer::start(&directory);
        let waiting = peer.begin("k", options);
        until("the waiter has the file open", || !peer.descriptors_of(&file).is_empty());
        fs::write(&file, "4711\n").unwrap();
        drop(guest);
        let refused = waiting.refused();
        assert!(refused.text.contains("k.lock"), "F9: {refused:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "4711\n", "F9: {options}");
    }
}

/// In a directory that was empty when it was used first every lock file is ours, whatever guests
/// write into it; that outlives the processes.
#[test]
fn f9_in_a_directory_of_ours_guests_may_write_into_lock_files() {
    let directory = Directory::new();
    let token = Peer::start(&directory).assert_free("k");
    let file = directory.file_of("k");
    fs::write(&file, "4711\n").unwrap();
    let mut peer = Peer::start(&directory);
    assert!(peer.assert_free("k") > token, "C7");
    fs::write(&file, "4711\n").unwrap();
    assert_eq!(peer.clean(), "removed 1 kept 0");
    fs::write(&file, "").unwrap();
    assert_eq!(peer.clean(), "removed 0 kept 1", "F9: guests open, then lock, and look at nothing");
}

/// A second name of another file is no lock file, wherever it is.
#[test]
fn f9_a_hard_link_to_something_else_is_left_alone() {
    let directory = Directory::new();
    let elsewhere = Directory::new();
    let [mut peer, _other] = Peer::start_many::<2>(&directory);
    peer.assert_free("own");
    let target = elsewhere.path().join("precious");
    fs::write(&target, "kept").unwrap();
    let file = directory.file_of("k");
    fs::hard_link(&target, &file).unwrap();
    assert_refused(&mut peer, "k", &file);
    assert_eq!(peer.clean(), "removed 1 kept 0", "F9");
    assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
    // A backup by links has a second name of each lock file: those go on.
    peer.assert_free("own");
    fs::hard_link(directory.file_of("own"), elsewhere.path().join("own")).unwrap();
    peer.assert_free("own");
}
