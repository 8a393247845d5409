use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::client::{Client, Settings};
use super::clock::BootClock;
use super::upstream::StoreUpstream;
use crate::forked::{PerFork, Side};
use crate::{
    Backend, BackendInfo, Capabilities, Clock, Engine, LeaseStore, LockBackend, LockError,
    WaiterOrder,
};

/// An adapter that makes a backend of a [`LeaseStore`].
///
/// An [`Engine`] in front of the store orders the waiters of this process, lets holds
/// nest and finds deadlocks within the process; only the first in line asks the store. Between
/// processes the order is the store's own.
///
/// A grant is trusted until the send time of the newest step that the store has confirmed, plus the
/// lease, less a margin of a twentieth of it, at least 100 ms ([C8](crate::contract#c8-loss)). A
/// background thread, `locks-lease`, renews each hold at a third of its lease and tries again soon
/// when that fails. If the renewals fail, because the store hangs or the machine slept, the guard
/// is lost at the end of that time.
///
/// ```
/// use locks::backend::Leased;
/// # use locks::{LockError, backend::LeaseStore};
/// # use std::time::Duration;
/// # fn open<S: LeaseStore>(store: S) -> Result<(), LockError> {
/// let backend = Leased::builder(store).lease(Duration::from_secs(30)).build().into_backend();
/// let guard = backend.named("invoice:42").acquire()?;
/// guard.check()?;
/// # Ok(())
/// # }
/// ```
pub struct Leased<S> {
    sides: PerFork<Own>,
    store: PhantomData<fn() -> S>,
}

/// What one process has of it.
struct Own(Engine);

impl Side for Own {
    fn engine(&self) -> &Engine {
        &self.0
    }
}

/// A builder for a [`Leased`] backend; see [`Leased::builder`].
#[must_use = "a builder makes no backend until `build`"]
pub struct LeasedBuilder<S> {
    store: S,
    clock: Option<Arc<dyn Clock>>,
    settings: Settings,
}

impl<S: LeaseStore> Leased<S> {
    /// Creates a backend on `store`, with a lease of ten seconds.
    pub fn new(store: S) -> Self {
        Self::builder(store).build()
    }

    /// Creates a builder for a backend on `store`.
    pub fn builder(store: S) -> LeasedBuilder<S> {
        let settings = Settings {
            lease: Duration::from_secs(10),
            connect: Duration::from_secs(2),
            poll: None,
            label: String::new(),
        };
        LeasedBuilder { store, clock: None, settings }
    }

    /// Returns a handle to the backend.
    pub fn into_backend(self) -> Backend {
        Backend::new(self.sides)
    }
}

impl<S: LeaseStore> LeasedBuilder<S> {
    /// Sets the default lease: the time for which the store keeps a lock for a process that no
    /// longer renews it.
    ///
    /// From 300 ms to a day; with any other, requests fail with `LimitExceeded`. Ten seconds unless
    /// set.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// Sets the time after which a request to a silent store fails with `Unavailable`; two seconds
    /// unless set. A request that is known to queue waits for at least one lease.
    pub fn connect(mut self, limit: Duration) -> Self {
        self.settings.connect = limit;
        self
    }

    /// Sets the interval at which a waiter asks again by itself: 50 ms unless set, or a second if
    /// the store gives [hints](LeaseStore::wakes).
    pub fn poll(mut self, poll: Duration) -> Self {
        self.settings.poll = Some(poll);
        self
    }

    /// Sets the label of this process in the errors and lists of others
    /// ([C12](crate::contract#c12-holder-information)).
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.settings.label = label.into();
        self
    }

    /// Sets the clock for ages and leases, in place of the [machine's](BootClock).
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Builds the backend.
    pub fn build(self) -> Leased<S> {
        let Self { store, clock, settings } = self;
        let about = about(store.about());
        let (store, known) = (Arc::new(store), about.clone());
        let open = move |store: &Arc<S>, about: &BackendInfo| {
            Own::on(store.clone(), about.clone(), clock.clone(), settings.clone())
        };
        let own = open(&store, &about);
        let reopen = move || {
            if store.works_in_children() {
                return Ok(open(&store, &known));
            }
            let why = "this process was forked from the one that opened it: open it again";
            Err(LockError::unavailable(&known.name, why))
        };
        Leased { sides: PerFork::new(about, own, reopen), store: PhantomData }
    }
}

impl Own {
    fn on<S: LeaseStore>(
        store: Arc<S>,
        about: BackendInfo,
        clock: Option<Arc<dyn Clock>>,
        settings: Settings,
    ) -> Self {
        let mut engine = Engine::builder().about(about);
        let clock = match clock {
            Some(clock) => {
                engine = engine.clock(clock.clone());
                clock
            }
            None => Arc::new(BootClock),
        };
        let client = Client::new(store, clock, settings);
        let engine = engine.upstream(Arc::new(StoreUpstream(client.clone()))).build();
        client.engine.get_or_init(|| engine.downgrade());
        Self(engine)
    }
}

/// What the store can do, and what the adapter adds to it.
fn about(store: &BackendInfo) -> BackendInfo {
    let can = store.capabilities;
    let capabilities = Capabilities {
        order: can.order.max(WaiterOrder::WithinProcess),
        deadlock_detection: true,
        reentrant: true,
        shared_owner: false,
        upgrade: false,
        several_permits: false,
        listing_waiters: can.listing,
        ..can
    };
    BackendInfo::new(store.name.clone(), capabilities)
}

impl<S: LeaseStore> From<Leased<S>> for Backend {
    fn from(leased: Leased<S>) -> Self {
        leased.into_backend()
    }
}

impl<S> fmt::Debug for Leased<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Leased").field(&self.sides.about().name).finish()
    }
}

impl<S: LeaseStore> fmt::Debug for LeasedBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeasedBuilder")
            .field("store", &self.store.about().name)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
