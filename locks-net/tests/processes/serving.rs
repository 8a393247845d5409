//! Row 33: the process that serves the others of its machine is one like them: stopped, forked, out
//! of descriptors, or at its end.

use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use locks_core::{Backend, ErrorKind};
use locks_net::NetBackend;

use crate::directory::until;
use crate::peer::Peer;
use crate::place::{Place, Way, assert_nothing_left, status};

#[test]
fn row_33_a_serving_process_that_is_stopped_costs_time_and_is_named() {
    let place = Place::with_limits(Way::Machine, "");
    let serving = place.start();
    let [mut holder, mut waiter] = place.peers();
    let held = holder.take("k", "");
    let waiting = waiter.begin("k", "");
    waiting.assert_waits();
    serving.stop();
    let start = Instant::now();
    let newcomer = place.told().client_within(Duration::from_millis(500)).unwrap();
    let error = Backend::new(newcomer).named("other").acquire().expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let (text, pid) = (error.to_string(), serving.pid().as_raw_nonzero());
    assert!(text.contains(&pid.to_string()), "row 33: it names who serves: {text}");
    assert!(text.contains("stopped"), "row 33: it says what is the matter: {text}");
    assert!(start.elapsed() < Duration::from_secs(20), "C2: {:?}", start.elapsed());
    thread::sleep(Duration::from_millis(500));
    holder.check(held).expect("row 33: waits cost time, no hold is lost");
    assert!(!waiting.is_answered());
    serving.go_on();
    holder.refresh(held).unwrap();
    holder.release(held).unwrap();
    let theirs = waiting.granted();
    waiter.release(theirs).unwrap();
}

/// A forked child has the listener and all connections, and serves nobody.
#[test]
fn row_33_a_child_of_the_serving_process_keeps_nobody_from_taking_over() {
    let place = Place::new(Way::Machine);
    let mut serving = place.start();
    let [mut holder, mut waiter] = place.peers();
    let held = holder.take("k", "");
    let waiting = waiter.begin("k", "");
    waiting.assert_waits();
    serving.tell("fork");
    assert_eq!(serving.says(), "forked");
    // One that connects while there are two listeners.
    let mut other = place.peer();
    let theirs = other.take("o", "");
    let old = serving.pid().as_raw_nonzero().get();
    serving.kill();
    let start = Instant::now();
    let mut newcomer = place.peer();
    newcomer.contended("k", "");
    let [pid, ..] = newcomer.status();
    assert_ne!(pid, u64::from(old.unsigned_abs()), "row 33: the dead serves");
    assert!(start.elapsed() < Duration::from_secs(20), "row 33: {:?}", start.elapsed());
    holder.check(held).unwrap();
    holder.refresh(held).unwrap();
    other.refresh(theirs).unwrap();
    holder.release(held).unwrap();
    let held = waiting.granted();
    waiter.release(held).unwrap();
    other.release(theirs).unwrap();
}

/// Nor the many that come one after the other.
#[test]
fn row_33_a_child_of_a_dead_server_is_in_the_way_of_none_of_its_successors() {
    let place = Place::new(Way::Machine);
    let mut first = place.start();
    first.tell("fork");
    assert_eq!(first.says(), "forked");
    first.kill();
    for successor in 0..8 {
        let began = Instant::now();
        let serving = place.start();
        let mut peer = place.peer();
        let held = peer.take("k", "");
        peer.release(held).unwrap();
        let [pid, ..] = peer.status();
        let own = serving.pid().as_raw_nonzero().get();
        assert_eq!(pid, u64::from(own.unsigned_abs()), "row 33: {successor}");
        // The child has not ended by then.
        assert!(began.elapsed() < Duration::from_secs(5), "row 33: {successor}");
        drop(peer);
        serving.kill();
    }
}

#[test]
fn row_33_a_serving_process_that_exits_is_followed_by_another() {
    let place = Place::new(Way::Machine);
    let serving = place.start();
    let [mut holder, mut waiter] = place.peers();
    let held = holder.take("k", "");
    let waiting = waiter.begin("k", "");
    waiting.assert_waits();
    serving.end();
    until("somebody else serves", || {
        let [pid, ..] = waiter.status();
        [holder.pid(), waiter.pid()].iter().any(|it| it.as_raw_nonzero().get() as u64 == pid)
    });
    holder.check(held).unwrap();
    holder.refresh(held).unwrap();
    // One after the other exits, and whoever has something keeps it.
    let [pid, ..] = waiter.status();
    if waiter.pid().as_raw_nonzero().get() as u64 == pid {
        drop(waiting);
        waiter.exit();
        holder.refresh(held).expect("row 33: the last one serves");
        holder.release(held).unwrap();
    } else {
        holder.exit();
        let theirs = waiting.granted();
        assert!(theirs.token > held.token, "C7");
        waiter.release(theirs).unwrap();
    }
    let mut newcomer = place.peer();
    newcomer.assert_free("k");
}

/// Those who are connected are served; others are once there is a descriptor for them.
#[test]
fn row_33_a_serving_process_without_descriptors_serves_those_who_are_there() {
    let place = Place::new(Way::Machine);
    let serving = place.start_after("ulimit -n 48");
    let [mut holder, mut waiter] = place.peers();
    let held = holder.take("k", "");
    let waiting = waiter.begin("k", "");
    waiting.assert_waits();
    // Connections that say nothing take what there is.
    let socket = place.path().join("server.sock");
    let crowd = Vec::from_iter((0..60).map_while(|_| UnixStream::connect(&socket).ok()));
    until("there are none left", || serving.descriptors() >= 41);
    holder.refresh(held).expect("row 33: who is connected is served");
    let newcomer = || {
        let client = place.told().client_within(Duration::from_millis(300)).unwrap();
        Backend::new(client).named("other").acquire().and_then(|guard| guard.release())
    };
    if let Err(error) = newcomer() {
        let kinds = [ErrorKind::Unavailable, ErrorKind::LimitExceeded];
        assert!(kinds.contains(&error.kind()), "row 33: {error:?}");
    }
    holder.release(held).unwrap();
    let theirs = waiting.granted();
    waiter.release(theirs).unwrap();
    drop(crowd);
    // Those of the crowd that were still to be let in may take what there is once more.
    until("there is one for a newcomer", || newcomer().is_ok());
}

/// Whoever is told not to serve says that nobody does.
#[test]
fn n3_serving_can_be_refused() {
    let place = Place::new(Way::Machine);
    let looking = NetBackend::machine(place.path()).serve(false);
    let looking = looking.connect(Duration::from_millis(300)).build().unwrap();
    let error = status(&looking).expect_err("nobody serves");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(!place.path().join("server.sock").exists(), "it serves in spite of all");
    let _serving = place.start();
    until("it finds the one that serves", || status(&looking).is_ok());
    assert_nothing_left(&looking);
}

#[test]
fn n5_a_directory_that_others_can_write_to_is_refused() {
    let place = Place::new(Way::Machine);
    for mode in [0o777, 0o770, 0o702] {
        place.directory().allow(mode);
        let client = place.told().client_within(Duration::from_millis(300));
        let error = match client.map(|client| Backend::new(client).named("k").acquire().map(drop)) {
            Ok(outcome) => outcome.expect_err("it is not safe"),
            Err(error) => error,
        };
        let text = error.to_string();
        assert!(text.contains("write") || text.contains("mode"), "{mode:o}: {text}");
    }
    place.directory().allow(0o700);
    drop(place.backend().named("k").acquire().unwrap());
}

/// `rm -rf` of the directory under everybody: another one is made, of which nobody knows what was
/// granted in the first.
#[test]
fn n3_a_directory_that_is_removed_and_made_anew_is_served_once_all_have_lost_what_they_had() {
    let place = Place::new(Way::Machine);
    let serving = place.start();
    let mut holder = place.peer();
    let held = holder.take("k", "");
    let lost_by = |holder: &mut Peer| holder.check(held).is_err_and(|refused| refused.is_lost());
    for entry in std::fs::read_dir(place.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    std::fs::remove_dir(place.path()).unwrap();
    let mut rival = place.peer();
    // It is granted at some time, and by then the other knows.
    let start = Instant::now();
    let theirs = loop {
        match rival.begin("k", "wait=2000").outcome() {
            Ok(theirs) => break theirs,
            Err(_) => assert!(start.elapsed() < Duration::from_secs(60), "nobody serves"),
        }
    };
    assert!(lost_by(&mut holder), "C1: both hold it");
    assert!(holder.release(held).unwrap_err().is_lost());
    rival.release(theirs).unwrap();
    drop(serving);
}
