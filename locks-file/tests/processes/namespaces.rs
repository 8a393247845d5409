//! Processes that do not see each other, and a system that has nothing left to watch files with.

use std::time::Duration;

use crate::directory::{Directory, until};
use crate::peer::{Peer, now};
use crate::program::{can_unshare, program_under};

const AGE: Duration = Duration::from_millis(300);

/// The holder's number is another one where the thief is: nothing is stolen early, and it is
/// stolen in the end (F3).
#[test]
fn f3_holder_and_thief_do_not_see_each_other() {
    let unshare = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    if !can_unshare(&unshare, "true") {
        return;
    }
    let directory = Directory::new();
    let mut inside = Peer::start_as(program_under("peer", &unshare, "true"), &directory);
    let mut other_inside = Peer::start_as(program_under("peer", &unshare, "true"), &directory);
    let mut outside = Peer::start(&directory);
    let mut last = 0;
    for round in 0..3 {
        let (victim, thief) = match round {
            0 => (&mut inside, &mut outside),
            1 => (&mut outside, &mut inside),
            _ => (&mut inside, &mut other_inside),
        };
        let asked = now();
        let held = victim.take("k", "");
        thief.contended("k", "");
        let stealing = thief.begin("k", &format!("steal={}", AGE.as_millis()));
        let stolen = stealing.reply_within(Duration::from_secs(5));
        assert!(stolen.is_some(), "F3: it is never stolen in round {round}");
        let stolen = stealing.granted();
        let waited = Duration::from_nanos(stolen.at - asked);
        assert!(waited >= AGE, "C6: stolen after {waited:?} in round {round}");
        assert!(last < held.token && held.token < stolen.token, "C7");
        last = stolen.token;
        until("the victim learns of it", || victim.check(held).is_err());
        assert!(victim.release(held).unwrap_err().is_lost());
        victim.contended("k", "");
        thief.release(stolen).unwrap();
    }
}

/// A waiter that cannot be told of changes looks for itself (F5).
#[test]
fn f5_nothing_left_to_watch_files_with() {
    for limit in ["max_inotify_instances", "max_inotify_watches"] {
        let (unshare, script) =
            (["--user", "--map-root-user"], format!("echo 0 >/proc/sys/user/{limit}"));
        if !can_unshare(&unshare, &script) {
            return;
        }
        let directory = Directory::new();
        let mut holder = Peer::start(&directory);
        let mut waiter = Peer::start_as(program_under("peer", &unshare, &script), &directory);
        for _ in 0..5 {
            let held = holder.take("k", "");
            let waiting = waiter.begin("k", "");
            let (start, worked) = (now(), waiter.processor_time());
            waiting.assert_waits();
            // A thread that has ended counts no more.
            let worked = waiter.processor_time().saturating_sub(worked);
            let took = now() - start;
            assert!(
                worked.as_nanos() < u128::from(took) / 5,
                "F5: it worked for {worked:?} of {took} ns while it waited without {limit}"
            );
            holder.release(held).unwrap();
            let soon = Duration::from_secs(2);
            assert!(waiting.reply_within(soon).is_some(), "F5: not served without {limit}");
            let held = waiting.granted();
            waiter.release(held).unwrap();
        }
    }
}
