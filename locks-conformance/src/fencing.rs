//! C7: tokens only grow.

use super::subject::Subject;
use locks_core::{LostCause, OwnedGuard, Token, TokenScope};

/// The greatest token of a key so far; each grant has to be above it.
#[derive(Debug, Default)]
struct Seen(Option<Token>);

impl Seen {
    #[track_caller]
    fn grows(&mut self, guard: &OwnedGuard) {
        let token = guard.token();
        assert!(self.0 < Some(token), "{token:?} after {:?}", self.0);
        self.0 = Some(token);
    }
}

pub(super) fn c7_tokens_grow_with_every_grant(subject: &Subject) {
    let mut seen = Seen::default();
    for round in 0..20 {
        let guard = subject.take(subject.lock("k"));
        seen.grows(&guard);
        let waiting = subject.queue(subject.theirs("k"));
        match round % 2 {
            0 => drop(guard),
            _ => subject.release(guard),
        }
        let guard = waiting.granted(subject);
        seen.grows(&guard);
        drop(guard);
    }
}

/// Also after the key had been forgotten, with others used in between.
pub(super) fn c7_a_forgotten_key_does_not_start_again(subject: &Subject) {
    let mut seen = Seen::default();
    for round in 0..5 {
        let guard = subject.take(subject.turns(round, "k"));
        seen.grows(&guard);
        subject.release(guard);
        subject.assert_free("k");
        for other in 0..100 {
            subject.release(subject.take(subject.lock(&format!("other-{round}-{other}"))));
        }
    }
}

pub(super) fn c7_readers_have_tokens_of_their_own(subject: &Subject) {
    if !subject.can().shared {
        return subject.assert_unsupported("shared", subject.lock("k").shared());
    }
    let mut seen = Seen::default();
    for _ in 0..3 {
        let readers = [0, 1, 2].map(|turn| {
            let reader = subject.take(subject.turns(turn, "k").shared());
            seen.grows(&reader);
            reader
        });
        drop(readers);
        let writer = subject.take(subject.lock("k"));
        seen.grows(&writer);
        let readers = [0, 1, 2].map(|turn| subject.queue(subject.turns(turn, "k").shared()));
        drop(writer);
        let before = seen.0;
        let mut tokens = readers.map(|waiting| waiting.granted(subject).token());
        tokens.sort_unstable();
        assert!(before < Some(tokens[0]), "{tokens:?} after {before:?}");
        assert!(tokens.is_sorted_by(|one, next| one < next), "two of {tokens:?} are the same");
        seen.0 = Some(tokens[2]);
    }
}

pub(super) fn c7_a_thief_has_a_greater_token(subject: &Subject) {
    if !super::stealing::steals(subject) {
        return;
    }
    let (age, mut seen) = (subject.unit(), Seen::default());
    let mut guard = subject.take(subject.lock("k"));
    for turn in 1..4 {
        seen.grows(&guard);
        subject.advance(age + subject.late());
        let thief = subject.take(subject.turns(turn, "k").wait(false).steal_after(age));
        super::stealing::assert_stolen(subject, &guard);
        drop(guard);
        guard = thief;
    }
    drop(guard);
    seen.grows(&subject.take(subject.lock("k")));
}

pub(super) fn c7_tokens_grow_across_eviction(subject: &Subject) {
    if !subject.can().evict {
        return subject.assert_evict_unsupported();
    }
    let mut seen = Seen::default();
    for _ in 0..3 {
        let guard = subject.take(subject.lock("k"));
        seen.grows(&guard);
        assert!(subject.evict("k", guard.token()));
        let next = subject.take(subject.theirs("k"));
        seen.grows(&next);
        drop(guard);
        drop(next);
    }
}

pub(super) fn c7_tokens_grow_across_the_end_of_a_hold(subject: &Subject) {
    let most = subject.unit();
    if !subject.can().bounds {
        return subject.assert_unsupported("hold_at_most", subject.lock("k").hold_at_most(most));
    }
    let mut seen = Seen::default();
    let since = subject.now();
    let guard = subject.take(subject.lock("k").hold_at_most(most));
    seen.grows(&guard);
    let waiting = subject.queue_until(subject.theirs("k"), since, most);
    subject.advance(most + subject.late());
    drop(waiting);
    let next = subject.take(subject.theirs("k"));
    seen.grows(&next);
    subject.assert_lost(&guard, LostCause::HeldTooLong);
}

/// A key that many threads fight for gives no token twice.
pub(super) fn c7_no_token_is_given_twice(subject: &Subject) {
    let threads = [0, 1, 2, 3].map(|number| {
        subject.thread("a thread", move |subject| {
            let mut seen = Seen::default();
            (0..50)
                .map(|_| {
                    let guard = subject.take(subject.turns(number, "k"));
                    seen.grows(&guard);
                    guard.token()
                })
                .collect::<Vec<_>>()
        })
    });
    let mut tokens = Vec::from_iter(threads.into_iter().flat_map(|thread| thread.finish()));
    tokens.sort_unstable();
    assert!(tokens.is_sorted_by(|one, next| one < next), "a token was given twice");
}

/// A set has one token, above those of all its keys, and below all that come after.
pub(super) fn c7_the_token_of_a_set_is_above_those_of_its_keys(subject: &Subject) {
    if !subject.can().several_keys {
        return subject.assert_unsupported("several keys", subject.backend().all(["a", "b"]));
    }
    let mut tokens = Vec::new();
    // `b` is far ahead of the others.
    for _ in 0..10 {
        tokens.push(subject.take(subject.theirs("b")).token());
    }
    tokens.push(subject.take(subject.lock("a")).token());
    let set = subject.take(subject.backend().all(["c", "a", "b"]));
    let of_set = set.token();
    assert!(tokens.iter().all(|token| *token < of_set), "{of_set:?} is not above {tokens:?}");
    drop(set);
    for key in ["a", "b", "c"] {
        let after = subject.take(subject.theirs(key)).token();
        assert!(after > of_set, "{after:?} of `{key}` is not above {of_set:?} of the set");
    }
}

/// The token that is listed is the one that the guard has.
pub(super) fn c7_the_guard_and_the_list_agree(subject: &Subject) {
    if !subject.can().listing {
        return super::holders::assert_listing_unsupported(subject);
    }
    let guard = subject.take(subject.lock("k"));
    let holders = subject.holders("k");
    assert_eq!(holders.len(), 1, "{holders:?}");
    assert_eq!(holders[0].token, Some(guard.token()), "{holders:?}");
}

/// What the backend declares for its tokens is true of a crash.
pub(super) fn c7_tokens_outlive_the_arbiter_as_declared(subject: &Subject) {
    let guard = subject.take(subject.lock("k"));
    let before = guard.token();
    subject.release(guard);
    let restarted = subject.fixture().restart();
    let outlives = subject.can().tokens != TokenScope::Process;
    assert!(
        restarted.is_some() || !outlives,
        "the backend promises tokens that outlive its process: give the fixture a `restart`"
    );
    if let Some(backend) = restarted.filter(|_| outlives) {
        let after = subject.take(backend.named("k")).token();
        assert!(after > before, "{after:?} after {before:?} and a restart");
    }
}
