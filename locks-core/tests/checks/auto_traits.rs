//! What is `Send`, `Sync` and `Unpin`: part of the interface, and easily lost by accident.

use std::marker::PhantomData;

use locks_core::*;

struct Asked<T: ?Sized>(PhantomData<T>);

/// The answers for types without the trait; those with it have inherent ones, which come first.
trait Otherwise {
    const SEND: bool = false;
    const SYNC: bool = false;
    const UNPIN: bool = false;
}

impl<T: ?Sized> Otherwise for Asked<T> {}

mod send {
    impl<T: ?Sized + Send> super::Asked<T> {
        pub(super) const SEND: bool = true;
    }
}

mod sync {
    impl<T: ?Sized + Sync> super::Asked<T> {
        pub(super) const SYNC: bool = true;
    }
}

mod unpin {
    impl<T: ?Sized + Unpin> super::Asked<T> {
        pub(super) const UNPIN: bool = true;
    }
}

macro_rules! table {
    ($($send:literal $sync:literal $unpin:literal: $($type:ty),+;)*) => {
        [$($((
            stringify!($type),
            (Asked::<$type>::SEND, Asked::<$type>::SYNC, Asked::<$type>::UNPIN),
            ($send == 1, $sync == 1, $unpin == 1),
        )),+),*]
    };
}

#[test]
fn every_public_type_is_as_sendable_as_it_promises() {
    let all = table! {
        // Send Sync Unpin
        0 1 1: Guard;
        1 1 1: OwnedGuard, Lost<'static>, Hold, Granted;
        1 1 1: Acquire<'static>, Op<'static, ()>, Op<'static, Granted>;
        1 1 1: LockBuilder<'static>, Backend, Engine, EngineBuilder, WeakEngine, PinnedKey;
        1 1 1: Request<'static>, Caller, Options, Wait, Mode, Kind, Keys<'static>, KeySet;
        1 1 1: LockError, ErrorKind, LostCause, DeadlockStep;
        1 1 1: LockInfo, HolderInfo, WaiterInfo, ProcessInfo, Query, Token, OwnerId, OwnerChain;
        1 1 1: CallSite, FunctionSite, BackendInfo, Capabilities, Exclusion, TokenScope, WaiterOrder;
        1 1 1: Moment, SystemClock, ManualClock, Alarm, Alarms;
        1 1 1: Claim<'static>, UpstreamGrant, Completion, Bounds;
        1 1 1: Scope, Scoped<std::future::Ready<()>>;
        1 1 0: Scoped<std::marker::PhantomPinned>;
        0 0 1: Scoped<*const ()>;
        1 1 0: dyn LockBackend, dyn Upstream, dyn TokenSource, dyn Clock;
    };
    assert_promised(&all);
}

#[test]
#[cfg(feature = "leases")]
fn every_public_type_of_leases_is_as_sendable_as_it_promises() {
    assert_promised(&table! {
        // Send Sync Unpin
        1 1 1: AcquisitionId, BootClock, Claimed, LeaseClaim, LeaseEnd, LeaseEnding, LeaseEntry;
        1 1 1: EntryState, LeasePlace, LeaseRenewal, Refusal, WakeSink;
        1 1 1: Renewed, locks_core::Wake;
        1 1 0: dyn LeaseStore;
    });
}

/// A type, what it is and what it promises to be: `Send`, `Sync`, `Unpin`.
type Row = (&'static str, (bool, bool, bool), (bool, bool, bool));

fn assert_promised(table: &[Row]) {
    for (name, is, promised) in table {
        assert_eq!(is, promised, "whether `{name}` is `Send`, `Sync`, `Unpin`");
    }
}

#[test]
fn the_futures_of_a_guard_can_be_spawned() {
    fn ends_send<F: Future + Send>(_: impl Fn(OwnedGuard) -> F) {}
    ends_send(|guard| async move { guard.refresh_async().await });
    ends_send(OwnedGuard::release_async);
    ends_send(|guard| async move { guard.lost().await });
    ends_send(|guard| scope(async move { guard.release_async().await }));
}

#[test]
fn handles_are_small() {
    assert_eq!(size_of::<Backend>(), size_of::<usize>());
    // What is told to `tracing` and `metrics` needs to know since when, and of which call; events
    // have its label as well.
    let told = cfg!(any(feature = "tracing", feature = "metrics"));
    let most = if told { 56 } else { 32 } + if cfg!(feature = "tracing") { 16 } else { 0 };
    assert!(size_of::<Guard>() <= most && size_of::<Option<OwnedGuard>>() <= most);
    assert_eq!(size_of::<LockError>(), size_of::<usize>());
}
