//! A4 as attributes that cache had to learn it: <https://github.com/jaemk/cached/issues>, and
//! <https://github.com/dermesser/memoize/issues>.
#![deny(warnings)]

use std::sync::Arc;

use locks::{LockError, lock};

use crate::polling::{is_free, now};

// Issue 96, and memoize 32: a parameter that is `mut`, and needs to be.
#[lock("peer_ca_mut_{x}")]
fn mutable(mut x: i32) -> i32 {
    x += 1;
    x
}

#[lock("peer_ca_mut_{x}", on_lost = "error")]
fn mutable_in_a_closure(mut x: i32) -> Result<i32, LockError> {
    x += 1;
    Ok(x)
}

struct Message<'a>(&'a str);

// Issue 48: a lifetime that only the return type names.
#[lock("peer_ca_commands_{commands.len()}")]
fn lifetime_of_the_result<'a>(commands: &[Arc<u8>]) -> Message<'a> {
    Message(if commands.is_empty() { "none" } else { "some" })
}

// Issue 84: borrowed parameters, and nothing that has to be `'static`.
#[lock("peer_ca_{first}_{second}")]
fn borrowed<'a>(first: &'a str, second: &str) -> Result<&'a str, LockError> {
    assert!(!second.is_empty());
    Ok(first)
}

// Issue 114: parameters by the names that an expansion might use. Issue 217: a `where` clause.
#[lock("peer_ca_{key}_{site}", wait = limit, otherwise = |_| default)]
async fn names<T, U>(key: T, site: U, lock: u8, guard: u8, limit: bool, default: u8) -> u8
where
    T: AsRef<str> + std::fmt::Display + Send,
    U: AsRef<str> + std::fmt::Display + Send,
{
    let (error, options, result) = (1, 2, 3);
    assert!(!is_free("peer_ca_a_b"));
    lock + guard
        + error
        + options
        + result
        + u8::try_from(key.as_ref().len()).unwrap()
        + u8::try_from(site.as_ref().len()).unwrap()
}

struct Cache<T>(T);

impl<T: Clone + std::fmt::Debug> Cache<T> {
    const SIZE: usize = 3;

    // Issues 6 and 16: in an implementation, a generic one at that.
    #[lock("peer_ca_{self.0:?}_{Self::SIZE}")]
    fn get(&self) -> (T, [u8; 3]) {
        (self.0.clone(), [0; 3])
    }

    #[lock("peer_ca_{Self::SIZE}")]
    fn put(&mut self, value: T) -> &mut Self {
        self.0 = value;
        self
    }
}

#[test]
fn a4_signatures_that_caches_met() {
    assert_eq!(mutable(1), 2);
    assert_eq!(mutable_in_a_closure(1).unwrap(), 2);
    assert_eq!(lifetime_of_the_result(&[]).0, "none");
    assert_eq!(borrowed("a", "b").unwrap(), "a");
    assert_eq!(now(names("a", String::from("b"), 1, 2, true, 9)), 11);
    let held = locks::named("peer_ca_a_b").acquire().unwrap();
    assert_eq!(now(names("a", "b", 1, 2, false, 9)), 9);
    drop(held);
    let mut cache = Cache(1);
    assert_eq!(cache.put(2).put(3).get().0, 3);
}
