//! A4: with `crate = path`, nothing is looked for in a crate called `locks`.
#![cfg(test)]
#![deny(warnings)]
#![no_implicit_prelude]

use ::std::option::Option::{self, None, Some};
use ::std::result::Result::{self, Err, Ok};
use ::std::{assert, assert_eq};

/// As a library re-exports it for its users.
mod facade {
    pub(crate) use ::guards::{__private, block};
}

struct User {
    id: u8,
}

impl User {
    #[::guards::lock("user_{self.id}_{self.id:>4}", wait = "5ms", crate = ::guards)]
    fn refresh(&self) -> Option<bool> {
        Some(is_free("user_7_   7"))
    }

    #[::guards::lock("user", crate = ::guards, on_lost = "error", guard = held)]
    fn told(&self) -> Result<u64, ::guards::LockError> {
        held.check()?;
        Ok(held.token().get())
    }

    #[::guards::lock(crate = crate::facade, key = self.id, otherwise = |_| 0)]
    async fn through_a_path(&self) -> u8 {
        self.id
    }

    #[::guards::lock("user", crate = self::guards::again)]
    fn through_a_module(&self) -> bool {
        is_free("user")
    }
}

/// A module by the name of the crate.
mod guards {
    pub(super) use ::guards as again;
}

fn is_free(key: &::std::primitive::str) -> bool {
    ::guards::named(key).wait(false).acquire().is_ok()
}

#[test]
fn a4_the_crate_may_have_another_name() {
    let user = User { id: 7 };
    assert_eq!(user.refresh(), Some(false));
    assert!(user.told().is_ok());
    assert!(!user.through_a_module());
    let held = ::guards::named("7").acquire();
    let future = ::std::pin::pin!(user.through_a_path());
    let waker = ::std::task::Waker::noop();
    let polled = ::std::future::Future::poll(future, &mut ::std::task::Context::from_waker(waker));
    assert!(polled.is_pending());
    ::std::mem::drop(held);
    let block = ::guards::block::lock!("user", crate = ::guards => { is_free("user") });
    assert!(!block.unwrap_or(true));
    let held = ::guards::named("user").acquire();
    let block = crate::facade::block::lock!("user", wait = false, crate = crate::facade => { 1 });
    match block {
        Err(error) => assert!(error.is_contended()),
        Ok(_) => ::std::unreachable!("the key is held"),
    }
    ::std::mem::drop(held);
    assert_eq!(::locks::whose(), "somebody else's");
    let none: Option<()> = None;
    assert!(none.is_none());
}
