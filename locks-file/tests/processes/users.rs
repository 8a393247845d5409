//! Users without the rights of root: umasks (F12, row 40), files whose rights were taken away
//! (F10), and directories that several share (F7).

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

use crate::commands::SEVERAL;
use crate::directory::Directory;
use crate::means::can_run;
use crate::peer::Peer;
use crate::program::{command_line, program};

const ONE: u32 = 65534;
const TWO: u32 = 65533;

/// The peer as another user, once the shell has run `script`; `None`, with a word, where that
/// cannot be had.
fn peer_of(user: u32, script: &str, directory: &Directory, several: bool) -> Option<Peer> {
    let user = user.to_string();
    let as_user = ["--reuid", &user, "--regid", &user, "--clear-groups"];
    let script = format!("{script}\nexec \"$@\"");
    let command = |words: &[String]| {
        let mut command = Command::new("setpriv");
        command.args(as_user).args(["sh", "-ec", &script, "sh"]).args(words);
        command
    };
    // The tests' own directory may be closed to others.
    let mend = "run as root, where other users may enter the directories above the test, and install \
                `setpriv` (util-linux)";
    if !can_run(&mut command(&command_line()), mend) {
        return None;
    }
    let mut peer = command(&command_line());
    for (name, value) in program("peer").get_envs() {
        peer.env(name, value.unwrap());
    }
    if several {
        peer.env(SEVERAL, "");
    }
    crate::directory::tell_directory(&mut peer, directory.path());
    Some(Peer::run(peer))
}

fn modes(directory: &Directory) -> Vec<(String, u32)> {
    let mut modes = Vec::new();
    let mut places = vec![directory.path().to_owned()];
    while let Some(place) = places.pop() {
        for entry in fs::read_dir(place).unwrap().flatten() {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                places.push(entry.path());
            }
            modes.push((entry.file_name().into_string().unwrap(), metadata.mode() & 0o7777));
        }
    }
    modes
}

/// What is made is of use to its owner, and to nobody else, whatever the umask.
#[test]
fn row_40_whatever_the_umask() {
    for umask in ["0777", "0177", "0000", "0400"] {
        let directory = Directory::new();
        chown(directory.path(), Some(ONE), Some(ONE)).expect("row 40 is tested by root");
        let script = format!("umask {umask}");
        let Some(mut one) = peer_of(ONE, &script, &directory, false) else { return };
        let held = one.take("k", "least=50");
        let mut other = peer_of(ONE, &script, &directory, false).unwrap();
        other.contended("k", "");
        let waiting = other.begin("k", "shared");
        waiting.assert_waits();
        one.refresh(held).unwrap();
        one.release(held).unwrap();
        let theirs = waiting.granted();
        other.release(theirs).unwrap();
        let thief = other.take("k", "");
        let stolen = one.take("k", "steal=1");
        assert!(other.release(thief).unwrap_err().is_lost());
        one.release(stolen).unwrap();
        for (name, mode) in modes(&directory) {
            let wanted = if name == ".kept" { 0o700 } else { 0o600 };
            assert_eq!(mode, wanted, "row 40: {name} under {umask}");
        }
        assert!(one.clean().starts_with("removed 1 "));
    }
}

/// A file of one's own is replaced, and gets the mode that it had.
#[test]
fn row_40_a_file_is_replaced_whatever_the_umask() {
    for umask in ["0777", "0177", "0000", "0400"] {
        let directory = Directory::new();
        let data = directory.path().join("data");
        fs::write(&data, "before").unwrap();
        fs::set_permissions(&data, Permissions::from_mode(0o640)).unwrap();
        for path in [directory.path(), &data] {
            chown(path, Some(ONE), Some(ONE)).expect("row 40 is tested by root");
        }
        let script = format!("umask {umask}");
        let Some(mut one) = peer_of(ONE, &script, &directory, false) else { return };
        assert_eq!(one.lock_file("replaced", &data, 0).reply(), "locked", "row 40: {umask}");
        assert_eq!(fs::read_to_string(&data).unwrap(), "new");
        assert_eq!(fs::metadata(&data).unwrap().mode() & 0o777, 0o640, "row 40: {umask}");
    }
}

/// What a umask, or a guest, has taken away is given back.
#[test]
fn row_41_rights_that_were_taken_away() {
    let directory = Directory::new();
    chown(directory.path(), Some(ONE), Some(ONE)).expect("row 41 is tested by root");
    let Some(mut one) = peer_of(ONE, "true", &directory, false) else { return };
    let first = one.assert_free("k");
    for mode in [0o000, 0o444, 0o200, 0o044] {
        let mut other = peer_of(ONE, "true", &directory, false).unwrap();
        for name in ["k.lock", ".epochs"] {
            fs::set_permissions(directory.path().join(name), Permissions::from_mode(mode)).unwrap();
        }
        let mut newcomer = peer_of(ONE, "true", &directory, false).unwrap();
        let held = other.take("k", "");
        assert!(held.token > first, "C7");
        newcomer.contended("k", "");
        let says = format!("token {}", held.token);
        fs::set_permissions(directory.path().join("k.lock"), Permissions::from_mode(mode)).unwrap();
        assert!(newcomer.list("k").contains(&says), "F10: mode {mode:o}");
        fs::set_permissions(directory.path().join("k.lock"), Permissions::from_mode(mode)).unwrap();
        newcomer.contended("k", "");
        other.release(held).unwrap();
        newcomer.assert_free("k");
    }
}

/// In a sticky directory nobody puts a file in the place of another's: the error does not advise a
/// right that would not help, and the holder keeps its lock.
#[test]
fn f7_nobody_steals_from_another_user_in_a_sticky_directory() {
    let directory = Directory::new();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o1777)).unwrap();
    let Some(mut one) = peer_of(ONE, "true", &directory, true) else { return };
    let mut two = peer_of(TWO, "true", &directory, true).unwrap();
    let held = one.take("k", "");
    for options in ["steal=1", "steal=1 shared"] {
        let refused = two.begin("k", options).refused();
        assert_eq!(refused.kind, "Unavailable", "{refused:?}");
        assert!(refused.text.contains("sticky"), "{refused:?}");
        assert!(refused.text.contains("chmod -t"), "{refused:?}");
    }
    let refused = two.evict("k", held.token).unwrap_err();
    assert!(refused.text.contains("sticky"), "{refused:?}");
    one.check(held).unwrap();
    one.release(held).unwrap();
    // Its own it can have.
    let held = one.take("own", "");
    let stolen = one.take("own", "steal=1");
    assert!(one.release(held).unwrap_err().is_lost());
    one.release(stolen).unwrap();
    // What is reserved is reserved for all of them.
    let held = two.take("r", "least=60000");
    two.release(held).unwrap();
    fs::write(directory.path().join("r.lock"), "").unwrap();
    one.contended("r", "");
}

/// They share what lies beside the lock files as well.
#[test]
fn f7_several_users_share_reservations() {
    let directory = Directory::new();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    let Some(mut one) = peer_of(ONE, "umask 0077", &directory, true) else { return };
    let mut two = peer_of(TWO, "umask 0077", &directory, true).unwrap();
    for _ in 0..2 {
        let held = one.take("k", "least=60000");
        one.release(held).unwrap();
        fs::write(directory.path().join("k.lock"), "").unwrap();
        two.contended("k", "");
        assert!(two.evict("k", held.token).unwrap());
        std::mem::swap(&mut one, &mut two);
    }
}
