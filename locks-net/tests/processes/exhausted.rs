//! Row 38: servers that have no room on the disk, no descriptors or no threads left.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::time::Duration;

use locks_core::{Backend, ErrorKind};

use crate::directory::until;
use crate::means::{SmallDisk, can_run, has_own_mounts};
use crate::place::{Place, Told, Way, assert_nothing_left, await_go, say, status};
use crate::program::program_by;

#[test]
fn row_38_a_full_disk_costs_nobody_a_lock_and_grants_go_on_when_there_is_room() {
    let name =
        "exhausted::row_38_a_full_disk_costs_nobody_a_lock_and_grants_go_on_when_there_is_room";
    if !has_own_mounts(name) {
        return;
    }
    for way in [Way::Unix, Way::Tcp, Way::Machine] {
        let place = Place::with_limits(way, "lease=2000");
        let disk = SmallDisk::over(place.path(), 400);
        let serving = place.start();
        let [mut holder, mut other, mut waiter] = place.peers();
        let (kept, released) = (holder.take("kept", ""), other.take("released", ""));
        let [waits, gives_up] = ["kept", "released"].map(|key| waiter.begin(key, ""));
        waits.assert_waits();
        drop(gives_up);
        disk.fill();
        // What is over takes no room, and what was reserved for more holds is used up in time.
        let newcomer = place.backend();
        let mut guards = Vec::new();
        let refusal = loop {
            match newcomer.named(format!("{:0>500}", guards.len())).acquire() {
                Ok(guard) => guards.push(guard),
                Err(error) => break error,
            }
            assert!(guards.len() < 10_000, "{way:?}: there is no room for so many");
        };
        assert_eq!(refusal.kind(), ErrorKind::Unavailable, "{way:?}: {refusal}");
        assert!(refusal.to_string().contains("make room"), "{way:?}: {refusal}");
        // Longer than any lease.
        std::thread::sleep(Duration::from_secs(3));
        holder.check(kept).expect("row 38: who holds something holds it");
        other.release(released).expect("row 38: releases go on");
        assert!(!newcomer.list().unwrap().is_empty(), "row 38: lists go on");
        holder.release(kept).expect("row 38: releases go on");
        let released = guards.into_iter().map(|guard| guard.release());
        released.for_each(|released| released.expect("row 38: releases go on"));
        let [pid, ..] = holder.status();
        disk.empty();
        let held = waits.granted();
        assert!(held.token > kept.token, "C7");
        until("it grants again", || newcomer.named("new").acquire().is_ok());
        assert_eq!(holder.status()[0], pid, "row 38: the server lives on");
        waiter.release(held).unwrap();
        // What was written down meanwhile is whole.
        let kept = holder.take("kept", "");
        disk.fill();
        serving.kill();
        let _next = (way != Way::Machine).then(|| place.start());
        holder.refresh(kept).unwrap_or_else(|refused| {
            // The age cannot be written down; the lock is there.
            assert!(!refused.is_lost(), "{way:?}: {refused:?}");
        });
        holder.check(kept).expect("row 38: a full disk is taken over too");
        holder.release(kept).unwrap();
    }
}

/// The journal is the only thing that grows, and all that is in it is over.
#[test]
fn row_38_a_server_does_not_stand_still_for_want_of_the_room_that_its_own_past_takes() {
    let name = "exhausted::row_38_a_server_does_not_stand_still_for_want_of_the_room_that_its_own_past_takes";
    if !has_own_mounts(name) {
        return;
    }
    let place = Place::new(Way::Unix);
    let disk = SmallDisk::over(place.path(), 400);
    let mut serving = place.start();
    let backend = place.backend();
    let key = "k".repeat(1000);
    let inode = || place.path().join("journal").metadata().unwrap().ino();
    for full in [false, true, true] {
        if full {
            // Others fill it while the journal is made anew, of all times: that comes after the
            // answer.
            let before = inode();
            while inode() == before {
                backend.named(&*key).acquire().unwrap().release().unwrap();
                std::thread::sleep(Duration::from_millis(2));
            }
            disk.fill();
        }
        for time in 0..1000 {
            let guard = backend.named(&*key).acquire();
            let guard = guard.unwrap_or_else(|error| panic!("full: {full}, {time}: {error}"));
            guard.release().unwrap();
        }
        if full {
            // The next one finds the room that the one before has kept.
            serving.kill();
            serving = place.start();
            disk.empty();
        }
    }
}

/// As units of systemd begin: 1,024, here fewer, so that it takes fewer clients.
#[test]
fn row_38_a_server_out_of_descriptors_refuses_newcomers_and_knows_who_comes_back() {
    let place = Place::new(Way::Unix);
    let serving = place.start_after("ulimit -n 100");
    let mut clients = Vec::new();
    let refusal = loop {
        let client = place.told().client_within(Duration::from_secs(10)).unwrap();
        let backend = Backend::new(client);
        match backend.named(format!("k{}", clients.len())).acquire() {
            Ok(guard) => clients.push((backend, guard)),
            Err(error) => break error,
        }
        assert!(clients.len() < 100, "it has two descriptors for each");
    };
    assert_eq!(refusal.kind(), ErrorKind::LimitExceeded, "{refusal}");
    assert!(refusal.to_string().contains("ulimit -n"), "{refusal}");
    assert!(clients.len() > 20, "{}", clients.len());
    for (_, guard) in &clients {
        guard.refresh().expect("row 38: holders go on");
    }
    // They all come back at once, and so do newcomers.
    let mut next = place.standby_as(crate::program::program_after("server", "ulimit -n 100"));
    let newcomers = Vec::from_iter((0..20).map(|_| {
        let client = place.told().client_within(Duration::from_secs(20)).unwrap();
        let mut polled = crate::polled::Polled::begin(Backend::new(client).named("k0"));
        assert!(polled.poll().is_none());
        polled
    }));
    serving.kill();
    place.let_serve(&mut next);
    for (number, (_, guard)) in clients.iter().enumerate() {
        guard.refresh().unwrap_or_else(|error| {
            panic!(
                "row 38: client {number} of {}: {error}; {} descriptors",
                clients.len(),
                next.descriptors()
            )
        });
    }
    drop(newcomers);
    for (_, guard) in clients {
        guard.release().unwrap();
    }
    until("newcomers are let in again", || status(&place.client()).is_ok());
    assert_nothing_left(&place.client());
}

/// Another user, who may start no thread beyond the first.
#[test]
fn row_38_a_client_that_can_start_no_thread_is_told_so() {
    let place = Place::with_limits(Way::Tcp, "");
    let _serving = place.start();
    let by = ["setpriv", "--reuid=4711", "--clear-groups", "prlimit", "--nproc=1"];
    let mend = "run as root, and install `setpriv` and `prlimit` (util-linux)";
    if !can_run(Command::new(by[0]).args(&by[1..]).arg("true"), mend) {
        return;
    }
    let mut single = place.standby_as(program_by("single", &by));
    single.tell("go");
    assert_eq!(single.says(), "refused Io", "row 38: an error, and no wait without end");
}

/// A process that wants a lock.
pub(crate) fn single() {
    await_go();
    let backend = Backend::new(Told::heard().client());
    let outcome = match backend.named("k").wait(Duration::from_secs(2)).acquire() {
        Ok(_) => "granted".to_owned(),
        Err(error) => format!("refused {:?}", error.kind()),
    };
    say(&outcome);
}
