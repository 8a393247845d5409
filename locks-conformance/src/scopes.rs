//! C9: stretches of asynchronous code as holders.

use super::pending::{Driven, Pending};
use super::reentry::nests;
use super::subject::Subject;
use locks_core::{CallSite, ErrorKind, Scope, current, scope};

/// What blocks within a scope asks in its name, not in that of the thread that polls it.
pub(super) fn c9_a_scope_is_one_holder(subject: &Subject) {
    if !nests(subject) {
        return;
    }
    subject.drive(
        "the scope",
        scope(async {
            let outer = subject.try_lock("k").acquire().expect("it is free");
            let error = subject.try_lock("k").acquire().expect_err("this scope has it");
            assert_eq!(error.kind(), ErrorKind::Contended, "{error:?}");
            let inner = subject.try_lock("k").reentrant().acquire().expect("it nests");
            assert_eq!(inner.token(), outer.token());
        }),
    );
    subject.assert_free("k");
}

/// Two scopes polled by one thread are two holders.
pub(super) fn c9_scopes_on_one_thread_are_apart(subject: &Subject) {
    if !nests(subject) {
        return;
    }
    let mut one = Driven::new(scope(async {
        let guard = subject.try_lock("k").acquire().expect("it is free");
        let mut turns = 0;
        std::future::poll_fn(|_| {
            turns += 1;
            if turns > 1 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        drop(guard);
    }));
    assert!(one.poll().is_pending());
    let other = scope(async { subject.try_lock("k").reentrant().acquire().map(drop) });
    let error = subject.drive("the other scope", other).expect_err("the first scope has it");
    assert_eq!(error.kind(), ErrorKind::Contended, "{error:?}");
    // Nor is the thread that polls it the scope.
    let error = subject.try_lock("k").reentrant().acquire().expect_err("the scope has it");
    assert_eq!(error.kind(), ErrorKind::Contended, "{error:?}");
    assert!(one.poll().is_ready());
    subject.assert_free("k");
}

/// A scope within the one that holds nests; its sibling waits until it is through.
pub(super) fn c9_siblings_wait_for_each_other(subject: &Subject) {
    if !nests(subject) {
        return;
    }
    let site = CallSite::caller();
    let joined = scope(async {
        let outer = subject.try_lock("k").acquire().expect("it is free");
        let (one, two) = (Scope::open(), Scope::open());
        let nested = || subject.lock("k").reentrant();
        let first =
            nested().begin_in(Some(&one), site).await.expect("it nests in its parent's hold");
        let refused = nested().wait(false).begin_in(Some(&two), site).await;
        assert_eq!(refused.expect_err("its sibling is in").kind(), ErrorKind::Contended);
        let mut second = Pending::of(nested().begin_in(Some(&two), site).into());
        second.assert_waits(subject);
        drop(first);
        let second = second.granted(subject);
        drop((outer, second));
    });
    subject.drive("the scopes", joined);
    subject.assert_free("k");
}

/// What is spawned starts fresh, unless it is told in whose name it works.
pub(super) fn c9_what_is_spawned_starts_fresh(subject: &Subject) {
    if !nests(subject) {
        return;
    }
    subject.drive(
        "the scope",
        scope(async {
            let guard = subject.try_lock("k").acquire().expect("it is free");
            let me = current();
            let fresh = subject.thread("a spawned thread", |subject| {
                subject.try_lock("k").reentrant().acquire().map(drop)
            });
            let error = fresh.finish().expect_err("it is not the one that holds");
            assert_eq!(error.kind(), ErrorKind::Contended, "{error:?}");
            let told = subject.thread("a spawned thread", move |subject| {
                let lock = subject.try_lock("k").owner(me).reentrant();
                lock.acquire().map(|guard| guard.token())
            });
            assert_eq!(told.finish().expect("it works in the scope's name"), guard.token());
        }),
    );
    subject.assert_free("k");
}

/// A scope's wait for what the scope around it holds would never end.
pub(super) fn c9_a_scope_cannot_wait_for_its_parent(subject: &Subject) {
    if !nests(subject) {
        return;
    }
    let site = CallSite::caller();
    let parent = scope(async {
        let guard = subject.try_lock("k").acquire().expect("it is free");
        let child = Scope::open();
        if subject.can().deadlock_detection {
            let refused = subject.lock("k").begin_in(Some(&child), site).await;
            assert_eq!(refused.expect_err("its parent has it").kind(), ErrorKind::Deadlock);
            // Neither would one by hand, which blocks the scope as well.
            let refused = subject.lock("k").acquire_async().await;
            assert_eq!(refused.expect_err("its scope has it").kind(), ErrorKind::Deadlock);
        }
        drop(guard);
    });
    subject.drive("the scopes", parent);
    subject.assert_free("k");
}
