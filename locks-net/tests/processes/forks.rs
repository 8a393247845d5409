//! Row 36: what a child that was forked without `exec` finds of its parent's.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use locks_core::Backend;

use crate::place::{Place, Told, WAYS, await_go, say};
use crate::polled::Polled;
use crate::program::program;

#[test]
fn row_36_the_guards_of_a_parent_are_lost_in_its_child_which_acquires_afresh() {
    for way in WAYS {
        let place = Place::new(way);
        let _serving = place.start();
        let mut parent = place.standby_as(program("parent"));
        parent.tell("fork");
        for said in ["check Lost", "is lost", "refresh Lost", "release Lost", "poll Lost"] {
            assert_eq!(parent.says(), format!("child: {said}"), "{way:?}");
        }
        for key in ["k", "r"] {
            let said = parent.says();
            let named = format!("child: the lock on `{key}` (token ");
            let why = ") was lost: this process was forked from the one that holds it, and has to acquire it itself";
            assert!(said.starts_with(&named) && said.ends_with(why), "{way:?}: {said}");
        }
        let said = "child: `k`: this was asked for by the process that this one was forked from: ask for it here";
        assert_eq!(parent.says(), said, "{way:?}");
        assert_eq!(
            parent.says(),
            "child: dropped",
            "{way:?}: nothing of the parent's is waited for"
        );
        assert_eq!(parent.says(), "child: contended", "{way:?}: its parent still holds it");
        assert_eq!(parent.says(), "child: has its own", "{way:?}");
        assert_eq!(parent.says(), "parent: holds", "{way:?}: the child has touched nothing");
        parent.end();
    }
}

/// A process that forks with everything under way.
pub(crate) fn parent() {
    await_go();
    let told = Told::heard();
    let backend = Backend::new(told.client());
    let checked = backend.named("k").acquire().unwrap().into_owned();
    let released = backend.named("r").acquire().unwrap().into_owned();
    let dropped = backend.named("d").acquire().unwrap().into_owned();
    let mut pending = Polled::begin(backend.named("k"));
    assert!(pending.poll().is_none(), "it is held");
    let mut dropped_pending = Polled::begin(backend.named("k"));
    assert!(dropped_pending.poll().is_none(), "it is held");
    // Others are in the library all the time.
    let busy = backend.clone();
    thread::spawn(move || {
        loop {
            drop(busy.named("busy").acquire());
        }
    });
    let child = backend.clone();
    let mut in_child = Some((checked, released, dropped, pending, dropped_pending, child));
    let mut command = Command::new("true");
    let outcome = |name: &str, outcome: Result<(), locks_core::LockError>| {
        let kind = outcome.map_or_else(|error| format!("{:?}", error.kind()), |()| "Ok".to_owned());
        say(&format!("child: {name} {}", kind.split(' ').next().unwrap_or_default()));
    };
    // SAFETY: the child does what programs do that fork and go on; it ends without `exec`.
    #[expect(unsafe_code, reason = "the one way to run anything in a forked child")]
    unsafe {
        command.pre_exec(move || {
            let (checked, released, dropped, mut pending, dropped_pending, backend) =
                in_child.take().expect("once");
            let text = checked.check().unwrap_err().to_string();
            outcome("check", checked.check());
            say(&format!("child: {}", if checked.is_lost() { "is lost" } else { "is held" }));
            outcome("refresh", checked.refresh());
            let release = released.release();
            let texts = [text, release.as_ref().unwrap_err().to_string()];
            outcome("release", release);
            let polled = pending.poll().expect("it is over in the child").map(drop);
            let asked = polled.as_ref().unwrap_err().to_string();
            outcome("poll", polled);
            texts.iter().chain([&asked]).for_each(|text| say(&format!("child: {text}")));
            drop((dropped, dropped_pending, pending));
            say("child: dropped");
            match backend.named("k").wait(false).acquire() {
                Err(error) if error.is_contended() => say("child: contended"),
                other => say(&format!("child: {other:?}")),
            }
            let own = backend.named("own").wait(Duration::from_secs(20)).acquire();
            match own.and_then(|own| own.check().and_then(|()| own.release())) {
                Ok(()) => say("child: has its own"),
                Err(error) => say(&format!("child: {error}")),
            }
            drop(checked);
            Err(io::Error::from_raw_os_error(1))
        });
    }
    command.spawn().map(drop).expect_err("the child ends before");
    // `in_child` went to the closure, which the command still has here.
    let other = Backend::new(told.client());
    let holds = ["k", "r", "d"].iter().all(|key| {
        other.named(*key).wait(false).acquire().is_err_and(|error| error.is_contended())
    });
    say(if holds { "parent: holds" } else { "parent: has lost something" });
    drop(command);
    for _ in io::stdin().lines() {}
    std::process::exit(0);
}
