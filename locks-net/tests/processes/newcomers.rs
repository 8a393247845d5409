//! When the serving process is killed the others keep their locks, and whoever comes is served at
//! once (N3).

use std::time::Instant;

use crate::place::{Place, Serving, Way, assert_nothing_left};

/// How often.
const ROUNDS: usize = 30;

/// Each time three processes have locks, one of them serves and is killed, and a fourth comes.
#[test]
fn n3_a_newcomer_is_served_at_once_after_the_serving_process_was_killed() {
    let (place, mut took, mut last) = (Place::new(Way::Machine), Vec::new(), 0);
    for round in 0..ROUNDS {
        let serving: Serving = place.start();
        let [mut one, mut two] = place.peers();
        let held = [one.take("one", ""), two.take("two", "")];
        let shared = [one.take("shared", "shared"), two.take("shared", "shared")];
        let waiting = two.begin("one", "");
        waiting.assert_waits();
        let [pid, ..] = one.status();
        assert_eq!(pid, serving.pid().as_raw_nonzero().get() as u64, "the first one serves");
        let mut newcomer = place.peer();
        // It has been started, and has not said anything to anybody.
        newcomer.is_there();
        let killed = Instant::now();
        serving.send_kill();
        let token = newcomer.take("new", "wait=10000").token;
        took.push(killed.elapsed());
        let before = held.iter().chain(&shared).map(|held| held.token).fold(last, u64::max);
        assert!(token > last, "C7, round {round}: {token} after {last}");
        last = token.max(before);
        for (peer, held) in [(&mut one, held[0]), (&mut two, held[1])] {
            peer.check(held).expect("N3: no lock is lost");
            peer.refresh(held).expect("N3: no lock is lost");
        }
        newcomer.contended("shared", "");
        let reader = newcomer.take("shared", "shared");
        newcomer.contended("two", "");
        one.release(held[0]).unwrap();
        let theirs = waiting.granted();
        assert!(theirs.token > held[0].token, "C7");
        for held in [held[1], shared[1], theirs] {
            two.release(held).unwrap();
        }
        one.release(shared[0]).unwrap();
        newcomer.release(reader).unwrap();
        // Nobody is left who could serve, and what they had is written down.
    }
    took.sort_unstable();
    let at = |part: usize| took[(took.len() - 1) * part / 100];
    let (half, most, longest) = (at(50), at(99), at(100));
    eprintln!("newcomers were served after {half:?} (p50), {most:?} (p99), {longest:?} at most");
    assert_nothing_left(&place.client());
}
