//! The options of a URL: what holds for requests that do not say.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use locks_core::{
    Backend, BackendInfo, DeadlockStep, Granted, Hold, HolderInfo, KeySet, Keys, LockBackend,
    LockError, LockInfo, LostCause, Op, Query, Request, Token, Wait,
};

/// What a URL says for requests that do not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Defaults {
    pub(crate) wait: Option<Wait>,
    pub(crate) lease: Option<Duration>,
    pub(crate) namespace: Option<Namespace>,
}

impl Defaults {
    /// `backend` with these defaults; the very same one if there are none.
    pub(crate) fn around(self, backend: Backend) -> Backend {
        if self.wait.is_none() && self.lease.is_none() && self.namespace.is_none() {
            return backend;
        }
        Backend::new(WithDefaults { defaults: self, inner: backend })
    }
}

/// What is put before every key: a name and a `/`.
///
/// I1: the only `/` is the last character. So no two namespaces make one key of two, and what is
/// put before can be taken off again.
#[derive(Clone, Debug)]
pub(crate) struct Namespace(String);

impl Namespace {
    pub(crate) fn new(name: &str) -> Result<Self, &'static str> {
        if name.is_empty() {
            return Err("option `namespace` is empty: give it a name or leave it out");
        }
        if name.contains('/') {
            return Err("option `namespace` must not contain `/`, which ends it in every key");
        }
        if name.contains('\0') || name.len() > 128 {
            return Err("option `namespace` has at most 128 bytes, none of them NUL");
        }
        Ok(Self(format!("{name}/")))
    }

    fn put(&self, key: &str) -> String {
        format!("{}{key}", self.0)
    }

    /// The key without the namespace; keys of others stay as they are.
    fn strip<'k>(&self, key: &'k str) -> &'k str {
        key.strip_prefix(&self.0).unwrap_or(key)
    }

    /// The error as it is to those who know nothing of the namespace.
    fn strip_error(&self, error: LockError) -> LockError {
        let key = self.strip(error.key()).to_owned();
        let cycle = error.cycle().iter().map(|step| {
            let (waiter, holder) = (step.waiter.clone(), step.holder.clone());
            DeadlockStep::new(self.strip(&step.wants), waiter, holder)
        });
        let cycle = cycle.collect();
        let error = error.with_key(key).with_cycle(cycle);
        // What is left is in sentences of the arbiter's own.
        let (text, quoted) = (error.to_string(), format!("`{}", self.0));
        if text.contains(&quoted) {
            return error.with_message(text.replace(&quoted, "`"));
        }
        error
    }

    fn put_query(&self, query: Query) -> Result<Query, Query> {
        match query {
            Query::All => Ok(Query::Prefix(self.0.clone())),
            Query::Key(key) => Ok(Query::Key(self.put(&key))),
            Query::Prefix(prefix) => Ok(Query::Prefix(self.put(&prefix))),
            unknown => Err(unknown),
        }
    }
}

/// A backend with defaults for requests that do not say.
struct WithDefaults {
    defaults: Defaults,
    inner: Backend,
}

impl LockBackend for WithDefaults {
    fn about(&self) -> &BackendInfo {
        self.inner.about()
    }

    fn acquire<'a>(&'a self, mut request: Request<'a>) -> Op<'a, Granted> {
        let options = &mut request.options;
        options.wait = options.wait.or(self.defaults.wait);
        options.lease = options.lease.or(self.defaults.lease);
        let Some(namespace) = &self.defaults.namespace else {
            return self.inner.acquire(request);
        };
        // Before the namespace makes a key of what is none (C1).
        if let Err(error) = request.keys.check() {
            return Op::failed(error);
        }
        let mut acquiring = Box::pin(async move {
            let put = KeySet::new(request.keys.iter().map(|key| namespace.put(key)));
            let keys = match put.as_slice() {
                [key] => Keys::one(key),
                _ => Keys::all(&put),
            };
            let mut named = Request::new(keys, request.options, request.caller);
            named.requested_at = request.requested_at;
            let granted = self.inner.acquire(named).await;
            granted.map_err(|error| namespace.strip_error(error))
        });
        // The keys live in the future, so only polling it asks the arbiter; and the request
        // begins with this call (C2).
        match acquiring.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(outcome) => Op::Now(outcome),
            Poll::Pending => Op::Later(acquiring),
        }
    }

    fn release(&self, hold: Hold) -> Op<'static, ()> {
        self.inner.release(hold)
    }

    fn poll_lost(&self, hold: &Hold, cx: Option<&mut Context<'_>>) -> Poll<LostCause> {
        self.inner.poll_lost(hold, cx)
    }

    fn unwatch(&self, hold: &Hold, waker: &Waker) {
        self.inner.unwatch(hold, waker);
    }

    fn validity(&self, hold: &Hold) -> Option<(Duration, Duration)> {
        self.inner.validity(hold)
    }

    fn refresh(&self, hold: &Hold) -> Op<'static, ()> {
        self.inner.refresh(hold)
    }

    fn detach_owner(&self, hold: &Hold) {
        self.inner.detach_owner(hold);
    }

    fn mark_done(&self, hold: &Hold) {
        self.inner.mark_done(hold);
    }

    fn stolen_from(&self, hold: &Hold) -> Vec<HolderInfo> {
        self.inner.stolen_from(hold)
    }

    fn share(&self, hold: &Hold) -> Op<'static, ()> {
        self.inner.share(hold)
    }

    fn keys(&self, hold: &Hold) -> Vec<String> {
        let mut keys = self.inner.keys(hold);
        if let Some(namespace) = &self.defaults.namespace {
            keys.iter_mut().for_each(|key| *key = namespace.strip(key).to_owned());
        }
        keys
    }

    fn inspect(&self, query: Query) -> Op<'static, Vec<LockInfo>> {
        let Some(namespace) = self.defaults.namespace.clone() else {
            return self.inner.inspect(query);
        };
        let query = match namespace.put_query(query) {
            Ok(query) => query,
            Err(unknown) => {
                let what = format!("{unknown:?}");
                return Op::failed(LockError::unsupported(&self.about().name, &what, ""));
            }
        };
        let strip = move |mut found: Vec<LockInfo>| {
            for lock in &mut found {
                lock.key = namespace.strip(&lock.key).to_owned();
            }
            found
        };
        match self.inner.inspect(query) {
            Op::Now(outcome) => Op::Now(outcome.map(strip)),
            Op::Later(found) => Op::later(async move { found.await.map(strip) }),
        }
    }

    fn evict(&self, key: &str, token: Token) -> Op<'static, bool> {
        match &self.defaults.namespace {
            Some(namespace) => self.inner.evict(&namespace.put(key), token),
            None => self.inner.evict(key, token),
        }
    }

    fn served_by(&self) -> Option<String> {
        self.inner.served_by()
    }
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use std::panic::catch_unwind;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::thread;

    use locks_conformance::{Case, Fixture};
    use locks_core::{Engine, ManualClock};

    use super::*;

    /// What a namespace takes from the longest key is the one thing that shows.
    const SHOWS: &str = "c1_the_longest_key_is_one";

    /// An engine behind a namespace, with a clock that is set by hand.
    struct Namespaced {
        backend: Backend,
        clock: ManualClock,
        passed: Mutex<Duration>,
    }

    impl Namespaced {
        fn new() -> Self {
            let clock = ManualClock::new();
            let engine = Engine::builder().clock(Arc::new(clock.clone())).build();
            let namespace = Some(Namespace::new("space").unwrap());
            let defaults = Defaults { wait: Some(Wait::Forever), lease: None, namespace };
            let backend = defaults.around(Backend::new(engine));
            Self { backend, clock, passed: Mutex::default() }
        }
    }

    impl Fixture for Namespaced {
        fn backend(&self) -> Backend {
            self.backend.clone()
        }

        fn now(&self) -> Duration {
            *self.passed.lock().unwrap()
        }

        fn advance(&self, by: Duration) {
            *self.passed.lock().unwrap() += by;
            self.clock.advance(by);
        }
    }

    #[test]
    fn the_kit_passes_within_a_namespace() {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(case) = Case::all().get(next.fetch_add(1, Ordering::Relaxed)) {
                let outcome = catch_unwind(|| case.run(Arc::new(Namespaced::new())));
                assert_eq!(outcome.is_err(), case.name() == SHOWS, "{}", case.name());
            }
        };
        thread::scope(|threads| (0..4).for_each(|_| drop(threads.spawn(work))));
    }
}
