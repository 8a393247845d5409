//! What one would pick instead, each used as its documentation says.
//!
//! All are behind two small traits, so that a row runs the same loop over each of them. A key
//! arrives as a `&str` or as a `String`; whoever has to own it makes or takes a `String`,
//! whoever has not borrows it.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError};

use dashmap::DashMap;
use parking_lot::Mutex;

/// A key as a caller has it at hand.
pub trait Key: Borrow<str> + Into<String> {}

impl<K: Borrow<str> + Into<String>> Key for K {}

/// A blocking lock by name.
pub trait Named: Sync {
    /// The lock on `key`; dropping the result releases it.
    fn lock(&self, key: impl Key) -> impl Sized;
}

/// An asynchronous lock by name.
pub trait NamedAsync: Send + Sync + 'static {
    /// The lock on `key`; dropping the result releases it.
    fn lock(&'static self, key: String) -> impl Future<Output: Send> + Send;
}

/// The floor for locks by name: the key is hashed to one of 4,096 mutexes. Different keys may
/// meet in one mutex, so it is a floor and not a peer: nested holds could deadlock.
#[derive(Debug)]
pub struct Striped {
    mutexes: Box<[Mutex<()>]>,
    hasher: foldhash::fast::RandomState,
}

impl Default for Striped {
    fn default() -> Self {
        let mutexes = (0..4096).map(|_| Mutex::new(())).collect();
        Self { mutexes, hasher: foldhash::fast::RandomState::default() }
    }
}

impl Named for Striped {
    #[inline]
    fn lock(&self, key: impl Key) -> impl Sized {
        let hash = self.hasher.hash_one(key.borrow()) as usize;
        self.mutexes[hash % self.mutexes.len()].lock()
    }
}

/// A mutex around a map of mutexes that is never cleaned: the first thing to come to mind.
#[derive(Debug, Default)]
pub struct MapOfArcs(Mutex<HashMap<String, Arc<Mutex<()>>>>);

impl Named for MapOfArcs {
    #[inline]
    fn lock(&self, key: impl Key) -> impl Sized {
        let mut map = self.0.lock();
        let mutex = match map.get(key.borrow()) {
            Some(mutex) => Arc::clone(mutex),
            None => Arc::clone(map.entry(key.into()).or_default()),
        };
        drop(map);
        mutex.lock_arc()
    }
}

/// A `DashMap` of mutexes that is never cleaned.
#[derive(Debug, Default)]
pub struct DashMapOfArcs(DashMap<String, Arc<Mutex<()>>>);

impl Named for DashMapOfArcs {
    #[inline]
    fn lock(&self, key: impl Key) -> impl Sized {
        let found = self.0.get(key.borrow()).map(|mutex| Arc::clone(&mutex));
        found.unwrap_or_else(|| Arc::clone(&self.0.entry(key.into()).or_default())).lock_arc()
    }
}

/// `key-mutex`, over `std::sync::Mutex`.
pub struct KeyMutex(key_mutex::KeyMutex<String, ()>);

impl Default for KeyMutex {
    fn default() -> Self {
        Self(key_mutex::KeyMutex::new())
    }
}

impl Named for KeyMutex {
    #[inline]
    fn lock(&self, key: impl Key) -> impl Sized {
        self.0.lock(key.into()).unwrap_or_else(PoisonError::into_inner)
    }
}

/// `keyed-lock`.
pub struct KeyedLock(keyed_lock::sync::KeyedLock<String>);

impl Default for KeyedLock {
    fn default() -> Self {
        Self(keyed_lock::sync::KeyedLock::new())
    }
}

impl Named for KeyedLock {
    #[inline]
    fn lock(&self, key: impl Key) -> impl Sized {
        self.0.lock(key.into())
    }
}

/// `lockable`'s pool of locks without values, blocking and asynchronous.
pub struct Lockable(lockable::LockPool<String>);

impl Default for Lockable {
    fn default() -> Self {
        Self(lockable::LockPool::new())
    }
}

impl Named for Lockable {
    #[inline]
    fn lock(&self, key: impl Key) -> impl Sized {
        self.0.blocking_lock(key.into())
    }
}

impl NamedAsync for Lockable {
    fn lock(&'static self, key: String) -> impl Future<Output: Send> + Send {
        self.0.async_lock(key)
    }
}

/// A `DashMap` of tokio mutexes that is never cleaned.
#[derive(Debug, Default)]
pub struct DashMapOfTokio(DashMap<String, Arc<tokio::sync::Mutex<()>>>);

impl NamedAsync for DashMapOfTokio {
    fn lock(&'static self, key: String) -> impl Future<Output: Send> + Send {
        let found = self.0.get(&key).map(|mutex| Arc::clone(&mutex));
        let mutex = found.unwrap_or_else(|| Arc::clone(&self.0.entry(key).or_default()));
        mutex.lock_owned()
    }
}

/// `key-mutex`, over tokio's mutex.
pub struct KeyMutexAsync(key_mutex::tokio::KeyMutex<String, ()>);

impl Default for KeyMutexAsync {
    fn default() -> Self {
        Self(key_mutex::tokio::KeyMutex::new())
    }
}

impl NamedAsync for KeyMutexAsync {
    fn lock(&'static self, key: String) -> impl Future<Output: Send> + Send {
        self.0.lock(key)
    }
}

/// `keyed-lock` for async code, over tokio's mutex.
pub struct KeyedLockAsync(keyed_lock::r#async::KeyedLock<String>);

impl Default for KeyedLockAsync {
    fn default() -> Self {
        Self(keyed_lock::r#async::KeyedLock::new())
    }
}

impl NamedAsync for KeyedLockAsync {
    fn lock(&'static self, key: String) -> impl Future<Output: Send> + Send {
        self.0.lock(key)
    }
}

macro_rules! opaque {
    ($($peer:ident)*) => {
        $(impl Debug for $peer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($peer))
            }
        })*
    };
}

opaque!(KeyMutex KeyedLock Lockable KeyMutexAsync KeyedLockAsync);
