//! The fast path, and a moment's wait for it.

use crate::engine::table::{Core, PinnedKey, Slot, SlotRef};
use crate::park::Spin;
use crate::request::FastHolder;
use crate::{Hold, Request, Token};

impl Core {
    /// Takes `key` if it is one, and free.
    #[inline]
    pub(in crate::engine) fn try_acquire_fast(
        &self,
        key: &str,
        is_fair: bool,
        holder: FastHolder,
    ) -> Option<(SlotRef, Token)> {
        let taken = self.registry.take_over(key);
        let (slot, token) = taken.or_else(|| self.try_acquire_in_table(key, is_fair))?;
        // SAFETY: we hold it (I2 of `Slot`).
        unsafe { slot.get() }.write_record(holder, self.clock.stamp());
        Some((slot, token))
    }

    /// Takes a key that has or needs a slot of its own.
    #[inline(never)]
    fn try_acquire_in_table(&self, key: &str, is_fair: bool) -> Option<(SlotRef, Token)> {
        self.registry.with(key, |slot, alive| Some((slot, self.take_from(alive, is_fair)?)))?
    }

    fn take_from(&self, slot: &Slot, is_fair: bool) -> Option<Token> {
        if is_fair { slot.try_take() } else { slot.try_barge(|| self.clock.now()) }
    }

    /// Who will hold the key, if the fast path can grant what is asked for.
    pub(super) fn fast_holder(&self, request: &Request<'_>) -> Option<FastHolder> {
        let plain =
            self.has_fast_path && request.options.is_plain() && request.requested_at.is_none();
        request.caller.as_fast_holder().filter(|_| plain)
    }

    pub(in crate::engine) fn try_acquire_pinned(
        &self,
        pinned: PinnedKey,
        is_fair: bool,
        holder: FastHolder,
    ) -> Option<Hold> {
        // SAFETY: the slot is pinned for ever.
        let slot = unsafe { pinned.slot_ref().get() };
        let token = self.take_from(slot, is_fair)?;
        slot.write_record(holder, self.clock.stamp());
        Some(Hold::plain(pinned.slot_ref(), token))
    }

    /// Tries for a moment before it comes to queueing: most holds are short.
    pub(super) fn spin(
        &self,
        slot: SlotRef,
        alive: &Slot,
        holder: FastHolder,
        is_fair: bool,
        spin: Spin,
        parks: bool,
    ) -> Option<Hold> {
        for round in spin {
            if round.has_yielded && alive.is_recorded_of(holder.owner) {
                // One's own hold is not waited for; a record that is older has been written over.
                return None;
            }
            if let Some(token) = self.take_from(alive, is_fair) {
                alive.write_record(holder, self.clock.stamp());
                return Some(Hold::plain(slot, token));
            }
            if !alive.is_held() || !parks && alive.is_waited_for() {
                // The state decides; and a task that has others before it had better queue than
                // spin.
                return None;
            }
        }
        None
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use crate::{
        CallSite, Caller, Engine, ErrorKind, Hold, Keys, LockError, Options, OwnerId, Query,
        Request, Token, Wait,
    };

    fn thread(realm: u32) -> OwnerId {
        OwnerId::from_parts(realm, 1, 5).unwrap()
    }

    fn request(key: &'static str, owner: OwnerId, change: fn(&mut Options)) -> Request<'static> {
        let mut options = Options { wait: Some(Wait::Try), ..Options::default() };
        change(&mut options);
        let site = CallSite::interned("src/pay.rs:88").unwrap();
        Request::new(Keys::one(key), options, Caller::named(owner).at(site))
    }

    fn plain(_: &mut Options) {}

    fn now(engine: &Engine, request: Request<'_>) -> Result<Hold, LockError> {
        engine.acquire(request).block().map(|granted| granted.hold)
    }

    #[test]
    fn a6_a_plain_hold_of_another_realm_is_nothing_but_its_record() {
        let engine = Engine::new();
        for owner in [thread(3), OwnerId::acquisition().in_realm(3)] {
            let hold = now(&engine, request("k", owner, plain)).unwrap();
            let is_plain = || !hold.slots()[0].slot().is_frozen();
            assert!(is_plain());
            let [info] = &engine.inspect(Query::All).block().unwrap()[..] else {
                panic!("one key")
            };
            let [holder] = &info.holders[..] else { panic!("one holder") };
            assert_eq!(holder.owner, Some(owner), "C12: with its realm");
            assert_eq!(holder.site.unwrap().to_string(), "src/pay.rs:88");
            assert!(is_plain(), "having been looked at");
            // C1: the same number in another realm is somebody else.
            let error = now(&engine, request("k", thread(4), |options| options.reentrant = true));
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Contended);
            assert!(is_plain(), "having been asked for");
            engine.release(hold).block().unwrap();
        }
        assert_eq!(engine.live_keys(), 0);
    }

    #[test]
    fn c9_a_plain_hold_of_another_realm_is_re_entered_by_its_owner() {
        let engine = Engine::new();
        let outer = now(&engine, request("k", thread(3), plain)).unwrap();
        let waits = |options: &mut Options| options.wait = None;
        let error = now(&engine, request("k", thread(3), waits)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadlock, "it would wait for itself");
        let inner =
            now(&engine, request("k", thread(3), |options| options.reentrant = true)).unwrap();
        assert_eq!(inner.token(), outer.token());
        engine.release(inner).block().unwrap();
        assert!(!outer.slots()[0].slot().is_frozen());
        engine.release(outer).block().unwrap();
    }

    #[test]
    fn c10_plain_holds_of_two_realms_close_a_cycle() {
        let engine = Engine::new();
        let waits = |options: &mut Options| options.wait = None;
        let [a, b] = [("a", 3), ("b", 4)]
            .map(|(key, realm)| now(&engine, request(key, thread(realm), plain)).unwrap());
        let mut first = pin!(engine.acquire(request("b", thread(3), waits)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(first.as_mut().poll(&mut cx).is_pending());
        let error = now(&engine, request("a", thread(4), waits)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadlock);
        let holders = error.cycle().iter().map(|step| step.holder.owner).collect::<Vec<_>>();
        assert_eq!(holders, [Some(thread(3)), Some(thread(4))]);
        engine.release(b).block().unwrap();
        let Poll::Ready(Ok(granted)) = first.as_mut().poll(&mut cx) else { panic!("it is free") };
        engine.release(granted.hold).block().unwrap();
        engine.release(a).block().unwrap();
    }

    #[test]
    fn c10_a_hold_in_another_name_is_kept_by_the_thread_that_took_it() {
        let waits = |options: &mut Options| options.wait = None;
        let [name, runs, other] =
            [5, 6, 7].map(|number| OwnerId::from_parts(3, 1, number).unwrap());
        let in_its_name = |change| {
            let mut request = request("k", name, change);
            request.caller.within.insert(0, runs);
            request.options.owner = Some(name);
            request
        };
        let mut cx = Context::from_waker(Waker::noop());
        for handed_over in [false, true] {
            let engine = Engine::new();
            let other_hold = now(&engine, request("j", other, plain)).unwrap();
            let hold = if handed_over {
                let before = now(&engine, request("k", thread(9), plain)).unwrap();
                let mut first = pin!(engine.acquire(in_its_name(waits)));
                assert!(first.as_mut().poll(&mut cx).is_pending());
                std::thread::sleep(std::time::Duration::from_millis(1));
                engine.release(before).block().unwrap();
                let Poll::Ready(Ok(granted)) = first.as_mut().poll(&mut cx) else {
                    panic!("handed")
                };
                granted.hold
            } else {
                now(&engine, in_its_name(plain)).unwrap()
            };
            let mut waiting = pin!(engine.acquire(request("j", runs, waits)));
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
            let mut closes = pin!(engine.acquire(request("k", other, waits)));
            let Poll::Ready(Err(error)) = closes.as_mut().poll(&mut cx) else {
                panic!("waits, handed over: {handed_over}")
            };
            assert_eq!(error.kind(), ErrorKind::Deadlock);
            engine.release(other_hold).block().unwrap();
            engine.release(hold).block().unwrap();
        }
    }

    #[test]
    fn c7_every_token_is_above_the_floor_also_on_the_fast_path() {
        let floor = Token::new(1 << 40);
        let engine = Engine::builder().token_floor(floor).unwrap().build();
        // In an inline slot, in the table, and by the state.
        let long = Box::leak("x".repeat(100).into_boxed_str());
        let first = now(&engine, request("k", thread(3), plain)).unwrap();
        let second = now(&engine, request(long, thread(3), plain)).unwrap();
        let shared = |options: &mut Options| options.mode = crate::Mode::Shared;
        let third = now(&engine, request("shared", thread(3), shared)).unwrap();
        for hold in [&first, &second] {
            assert!(!hold.slots()[0].slot().is_frozen());
        }
        for hold in [first, second, third] {
            assert!(hold.token() > floor, "{}", hold.token());
            engine.release(hold).block().unwrap();
        }
        let again = now(&engine, request("k", thread(3), plain)).unwrap();
        assert!(again.token() > floor);
        engine.release(again).block().unwrap();
    }
}
