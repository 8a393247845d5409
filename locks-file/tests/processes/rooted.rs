//! Names are looked up in the directory that was opened (F12): paths can come to mean something
//! else for a process.

use std::fs;

use crate::directory::{Directory, assert_stays, until};
use crate::peer::Peer;
use crate::program::{can_unshare, program_under};

/// A daemon locks and then locks itself in.
#[test]
fn f12_a_process_that_changes_its_root_keeps_its_locks() {
    let directory = Directory::new();
    let jail = Directory::new();
    // Something is where the locks are, seen from outside.
    let decoy = jail.path().join(directory.path().strip_prefix("/").unwrap());
    for with_decoy in [false, true] {
        if with_decoy {
            fs::create_dir_all(&decoy).unwrap();
        }
        let [mut daemon, mut other] = Peer::start_many(&directory);
        let held = [daemon.take("k", ""), daemon.take("s", "shared")];
        daemon.ask(&format!("chroot {}", jail.path().display())).done().unwrap();
        assert_stays("it holds them", || held.iter().all(|held| daemon.check(*held).is_ok()));
        daemon.refresh(held[0]).unwrap();
        other.contended("k", "");
        let more = daemon.take("new", "");
        other.contended("new", "");
        let theirs = other.take("theirs", "");
        daemon.contended("theirs", "");
        let waiting = daemon.begin("theirs", "");
        waiting.assert_waits();
        other.release(theirs).unwrap();
        let theirs = waiting.granted();
        for held in held.into_iter().chain([more, theirs]) {
            daemon.release(held).unwrap();
        }
        for key in ["k", "s", "new", "theirs"] {
            other.assert_free(key);
        }
    }
    assert_eq!(fs::read_dir(decoy).unwrap().count(), 0, "it was used");
}

/// Its file system is unmounted, as far as that goes while somebody uses it.
#[test]
fn f12_an_unmounted_directory_goes_on() {
    let directory = Directory::new();
    let path = directory.path().display().to_string();
    let script = format!("mount -t tmpfs -o mode=700 none '{path}'");
    if !can_unshare(&["--mount"], &script) {
        return;
    }
    let mut peer = Peer::start_as(program_under("peer", &["--mount"], &script), &directory);
    let held = [peer.take("k", ""), peer.take("s", "shared")];
    peer.run_program(&format!("umount -l {path}"));
    assert_stays("it holds them", || held.iter().all(|held| peer.check(*held).is_ok()));
    peer.contended("k", "");
    let new = peer.take("new", "");
    peer.contended("new", "");
    for held in held.into_iter().chain([new]) {
        peer.release(held).unwrap();
    }
    peer.assert_free("k");
}

/// Another directory takes its place: newcomers use that one, so those who were there go over, and
/// what they held is lost.
#[test]
fn row_25_another_directory_in_the_place_of_the_one_in_use() {
    let directory = Directory::new();
    let [mut one, mut other] = Peer::start_many(&directory);
    let held = [one.take("k", ""), one.take("s", "shared")];
    // It has opened the directory.
    other.contended("k", "");
    let away = Directory::missing();
    fs::rename(directory.path(), away.path()).unwrap();
    // As long as there is no other, it is still the one.
    assert_stays("it holds them", || held.iter().all(|held| one.check(*held).is_ok()));
    other.contended("k", "");
    fs::create_dir(directory.path()).unwrap();
    fs::set_permissions(directory.path(), crate::directory::private()).unwrap();
    until("the holder finds out", || held.iter().all(|held| one.check(*held).is_err()));
    let mut newcomer = Peer::start(&directory);
    let theirs = newcomer.take("k", "");
    one.contended("k", "");
    other.contended("k", "");
    for held in held {
        assert!(one.release(held).unwrap_err().is_lost());
    }
    newcomer.check(theirs).unwrap();
    newcomer.release(theirs).unwrap();
    one.assert_free("k");
}
