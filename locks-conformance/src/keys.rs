//! C1: what is a key, and when two are the same.

use super::subject::Subject;
use locks_core::{ErrorKind, MAX_KEY_LEN};

/// Keys that a careless mapping to names takes for one another, or for a way out of its place.
pub(crate) const ALIKE: [&str; 26] = [
    "a",
    "A",
    " a",
    "a ",
    "a\n",
    "a\t",
    "a\u{200b}",
    "caf\u{e9}",
    "cafe\u{301}",
    "stra\u{df}e",
    "strasse",
    "\u{131}",
    "i",
    ".",
    "..",
    "../a",
    "/a",
    "./a",
    "a/",
    "a/../a",
    "\\a",
    "a%2f",
    "a*",
    "a?",
    "a:b",
    "\u{1f512}",
];

/// Every key is a lock of its own, whatever it looks like.
pub(super) fn c1_keys_are_compared_byte_for_byte(subject: &Subject) {
    let guards =
        ALIKE.map(|key| (key, subject.take(subject.lock(key).wait(subject.unit() * 1000))));
    for (key, guard) in guards {
        subject.contended(subject.theirs(key));
        subject.release(guard);
        subject.assert_free(key);
    }
}

/// 1,024 bytes are a key, and its last byte counts.
pub(super) fn c1_the_longest_key_is_one(subject: &Subject) {
    let (one, other) = ("x".repeat(MAX_KEY_LEN), "x".repeat(MAX_KEY_LEN - 1) + "y");
    let wide = "\u{1f512}".repeat(MAX_KEY_LEN / 4);
    let held = [&one, &other, &wide].map(|key| subject.take(subject.lock(key)));
    for key in [&one, &other, &wide] {
        subject.contended(subject.theirs(key));
    }
    drop(held);
    for key in [one, other, wide] {
        subject.assert_free(&key);
    }
}

/// One key that is the beginning of another is not that other.
pub(super) fn c1_a_prefix_is_another_key(subject: &Subject) {
    let keys = ["k", "k1", "k12", "k1:2", "k1/2", "k1/2/3"];
    let held = keys.map(|key| subject.take(subject.lock(key)));
    for key in keys {
        subject.contended(subject.theirs(key));
    }
    drop(held);
}

/// What cannot be a key is refused as such, whether or not it is the only key.
pub(super) fn c1_refuses_what_cannot_be_a_key(subject: &Subject) {
    let long = "x".repeat(MAX_KEY_LEN + 1);
    let wide = "\u{e9}".repeat(MAX_KEY_LEN / 2) + "x";
    for key in ["", "\0", "a\0b", "a\0", long.as_str(), wide.as_str()] {
        subject.refused(subject.lock(key), ErrorKind::InvalidKey);
        subject.refused(subject.try_lock(key), ErrorKind::InvalidKey);
    }
    subject.assert_free("a");
}

/// One bad key among good ones is found before any of the good ones is touched.
pub(super) fn c1_a_bad_key_is_found_before_anything_is_touched(subject: &Subject) {
    if !subject.can().several_keys {
        return subject.assert_unsupported("several keys", subject.backend().all(["a", "b"]));
    }
    let held = subject.take(subject.lock("a"));
    // With `a` taken it would wait if it looked at the keys one by one.
    subject.refused(subject.backend().all(["a", "b\0"]), ErrorKind::InvalidKey);
    subject.refused(subject.backend().all(Vec::<String>::new()), ErrorKind::InvalidKey);
    subject.release(held);
    subject.assert_free("a");
    subject.assert_free("b");
}
