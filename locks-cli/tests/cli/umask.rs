//! FAULTS 40: what is made under an odd umask can be used by its owner, and by nobody else.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::kit::{Guest, Place, errors};

const UMASKS: [&str; 5] = ["0177", "0777", "0477", "0000", "0022"];

/// A user for whom modes count, in a directory of theirs.
struct User {
    place: Place,
    guest: Guest,
}

impl User {
    fn new() -> Self {
        let place = Place::new();
        let guest = Guest::new(&place, true);
        Self { place, guest }
    }

    /// Runs `locks` under this umask.
    fn under(&self, umask: &str, arguments: &[&str]) -> Output {
        self.guest.locks(&self.place, umask, arguments).output().unwrap()
    }
}

/// All that is at the path and below it.
fn all(path: &Path, found: &mut Vec<PathBuf>) {
    found.push(path.to_owned());
    for entry in fs::read_dir(path).into_iter().flatten() {
        all(&entry.unwrap().path(), found);
    }
}

fn are_the_owners_alone(umask: &str, top: &Path) {
    let mut found = Vec::new();
    all(top, &mut found);
    assert!(found.len() > 3, "{found:?}");
    for path in found {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let needed = if metadata.is_dir() { 0o700 } else { 0o600 };
        let mode = metadata.mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "umask {umask}: {} is {mode:o}", path.display());
        assert_eq!(mode & needed, needed, "umask {umask}: {} is {mode:o}", path.display());
    }
}

#[test]
fn f40_directories_are_their_owners_alone_whatever_the_umask() {
    for scheme in ["file", "net"] {
        for umask in UMASKS {
            let user = User::new();
            let top = user.place.path("one");
            let url = format!("{scheme}://{}", top.join("two/three").display());
            for umask in [umask, "0022"] {
                let run = ["run", "--backend", &url, "a", "b", "--", "true"];
                let output = user.under(umask, &run);
                assert_eq!(output.status.code(), Some(0), "{umask}: {}", errors(&output));
            }
            are_the_owners_alone(umask, &top);
        }
    }
}

#[test]
fn f40_a_secret_can_be_read_by_its_owner_whatever_the_umask() {
    for umask in UMASKS {
        let user = User::new();
        let output = user.under(umask, &["secret", "--out", "s"]);
        assert_eq!(output.status.code(), Some(0), "{umask}: {}", errors(&output));
        let mode = fs::metadata(user.place.path("s")).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600, "{umask}: {mode:o}");
    }
}

/// Many at once, so that some find what others have made and not yet opened to themselves.
#[test]
fn f40_those_who_come_at_once_all_find_a_directory_that_they_can_use() {
    let user = User::new();
    for round in 0..12 {
        let scheme = ["file", "net"][round % 2];
        let url = format!("{scheme}://{}", user.place.path(&format!("{round}/a/b")).display());
        let outputs = std::thread::scope(|scope| {
            let run = || user.under("0777", &["run", "--backend", &url, "a", "--", "true"]);
            let running = [(); 6].map(|()| scope.spawn(run));
            running.map(|thread| thread.join().unwrap())
        });
        for output in outputs {
            assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        }
    }
}
