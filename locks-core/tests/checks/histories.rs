//! An engine that has been restored from records goes on as the one they were made by would have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use locks_core::{
    CallSite, Caller, Engine, Hold, HoldRecord, KeySet, Keys, ManualClock, Mode, Options, OwnerId,
    Query, Request, Token, Wait,
};
use proptest::prelude::*;

/// Locks, and the last one a key of permits.
const KEYS: [&str; 4] = ["a", "b", "c", "permits"];

#[derive(Clone, Debug)]
enum Step {
    Ask(Asked),
    Release(usize),
    Refresh(usize),
    Disown(usize),
    Evict(usize),
    Advance(u64),
}

/// Times are in tenths of a second.
#[derive(Clone, Debug)]
struct Asked {
    first: usize,
    second: Option<usize>,
    shared: bool,
    reentrant: bool,
    owner: Option<u64>,
    at_least: Option<u64>,
    at_most: Option<u64>,
    steal_after: Option<u64>,
}

fn tenths(number: u64) -> Duration {
    Duration::from_millis(number * 100)
}

fn seldom(times: std::ops::Range<u64>) -> impl Strategy<Value = Option<u64>> {
    prop_oneof![3 => Just(None), 1 => times.prop_map(Some)]
}

fn asked() -> impl Strategy<Value = Asked> {
    let keys = (0..4_usize, prop_oneof![2 => Just(None), 1 => (0..3_usize).prop_map(Some)]);
    let how = (
        any::<bool>(),
        any::<bool>(),
        prop_oneof![1 => Just(None), 6 => (1..4_u64).prop_map(Some)],
    );
    (keys, how, seldom(1..30), seldom(1..60), seldom(0..30)).prop_map(
        |((first, second), (shared, reentrant, owner), at_least, at_most, steal_after)| Asked {
            first,
            second: second.filter(|_| first < 3),
            shared,
            reentrant: reentrant && owner.is_some(),
            owner,
            at_least,
            at_most,
            steal_after,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => asked().prop_map(Step::Ask),
        3 => any::<usize>().prop_map(Step::Release),
        1 => any::<usize>().prop_map(Step::Refresh),
        1 => any::<usize>().prop_map(Step::Disown),
        1 => any::<usize>().prop_map(Step::Evict),
        3 => (1..20_u64).prop_map(Step::Advance),
    ]
}

/// An engine and its guards, in the order of their grants.
struct World {
    engine: Engine,
    guards: Vec<Hold>,
    /// The greatest token seen of each key.
    tokens: BTreeMap<String, Token>,
}

impl World {
    fn new(clock: &ManualClock) -> Self {
        let engine = Engine::builder().clock(Arc::new(clock.clone())).build();
        Self { engine, guards: Vec::new(), tokens: BTreeMap::new() }
    }

    /// Does it, and says how it went.
    fn take(&mut self, step: &Step) -> String {
        let nth = |index: &usize| index % self.guards.len().max(1);
        match step {
            Step::Ask(asked) => self.ask(asked),
            Step::Advance(_) => String::new(),
            _ if self.guards.is_empty() => String::new(),
            Step::Release(index) => {
                let hold = self.guards.remove(nth(index));
                let released = self.engine.release(hold).block();
                format!("{:?}", released.map_err(|error| error.kind()))
            }
            Step::Refresh(index) => {
                let refreshed = self.engine.refresh(&self.guards[nth(index)]).block();
                format!("{:?}", refreshed.map_err(|error| error.kind()))
            }
            Step::Disown(index) => {
                self.engine.detach_owner(&self.guards[nth(index)]);
                String::new()
            }
            Step::Evict(index) => {
                let hold = &self.guards[nth(index)];
                match self.engine.record(hold).first() {
                    Some(record) => {
                        let evicted = self.engine.evict(&record.key, record.token).block();
                        format!("{}", evicted.unwrap())
                    }
                    None => "lost before".to_owned(),
                }
            }
        }
    }

    fn ask(&mut self, asked: &Asked) -> String {
        let mut options = Options::default();
        options.wait = Some(Wait::Try);
        options.reentrant = asked.reentrant;
        options.hold_at_least = asked.at_least.map(tenths);
        options.hold_at_most = asked.at_most.map(tenths);
        options.steal_after = asked.steal_after.map(tenths);
        options.mode = match (asked.first, asked.shared) {
            (3, shared) => Mode::Permit { take: 1 + u32::from(shared), of: 3 },
            (_, true) => Mode::Shared,
            (_, false) => Mode::Exclusive,
        };
        let owner = asked.owner.map(|number| OwnerId::from_parts(1, 1, number).unwrap());
        let caller = owner.map_or_else(Caller::anonymous, Caller::named);
        let caller = caller.at(CallSite::interned("src/pay.rs:88").unwrap());
        let keys = KeySet::new([asked.first].into_iter().chain(asked.second).map(|key| KEYS[key]));
        let request = Request::new(Keys::all(&keys), options, caller);
        match self.engine.acquire(request).block() {
            Err(error) => format!("{:?} `{}`", error.kind(), error.key()),
            Ok(granted) => {
                let records = self.engine.record(&granted.hold);
                let nested = records.iter().map(|record| record.nested).collect::<Vec<_>>();
                records.iter().for_each(|record| self.see(record));
                self.guards.push(granted.hold);
                format!("granted, nested: {nested:?}")
            }
        }
    }

    /// C7: what is no nest has a greater token than all before.
    fn see(&mut self, record: &HoldRecord) {
        let last = self.tokens.entry(record.key.clone()).or_insert(Token::new(0));
        assert!(record.nested || record.token > *last, "{record:?} after {last}");
        *last = record.token.max(*last);
    }

    fn records(&self) -> Vec<Vec<HoldRecord>> {
        self.guards.iter().map(|hold| self.engine.record(hold)).collect()
    }

    /// A new engine with what is held in this one, where guards that are lost are released before:
    /// nothing can be nested in them any more.
    fn copy(&mut self, clock: &ManualClock) -> Self {
        for hold in std::mem::take(&mut self.guards) {
            if self.engine.record(&hold).is_empty() {
                drop(self.engine.release(hold));
            } else {
                self.guards.push(hold);
            }
        }
        let mut copy = Self::new(clock);
        for records in self.records() {
            for record in &records {
                let last = copy.tokens.entry(record.key.clone()).or_insert(Token::new(0));
                *last = record.token.max(record.outer).max(*last);
            }
            copy.guards.push(copy.engine.restore(&records).unwrap());
        }
        for (key, mode, token, until) in self.engine.reservations() {
            copy.engine.restore_reservation(&key, mode, token, until).unwrap();
        }
        copy
    }

    /// Who holds what, and which guards are lost; with tokens or without.
    fn seen(&self, with_tokens: bool) -> Vec<String> {
        let mut seen = Vec::new();
        for info in self.engine.inspect(Query::All).block().unwrap() {
            let (key, reserved) = (&info.key, info.reserved_for);
            seen.push(format!("{key}: reserved for {reserved:?} {} times", info.reserved_by.len()));
            for holder in info.holders {
                let token = holder.token.filter(|_| with_tokens);
                let (mode, age, site) = (holder.mode, holder.age, holder.site);
                // A set of nobody's has an owner that each engine makes up.
                let owner = holder.owner.filter(|owner| with_tokens || owner.to_parts().1 != 3);
                seen.push(format!("{key}: {mode} {token:?} {owner:?} {age:?} {site:?}"));
            }
        }
        for hold in &self.guards {
            seen.push(format!("lost: {:?}", self.engine.poll_lost(hold, None)));
        }
        let bounds = |record: HoldRecord| {
            (record.key, record.nested, record.mode, record.since, record.reserved_until)
        };
        for records in self.records() {
            let ends = records.iter().map(|record| record.ends_at).collect::<Vec<_>>();
            let bounds = records.into_iter().map(bounds).collect::<Vec<_>>();
            seen.push(format!("{bounds:?} {ends:?}"));
        }
        seen
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn c7_a_restored_engine_goes_on_as_the_one_before_would_have(
        before in prop::collection::vec(step(), 0..40),
        after in prop::collection::vec(step(), 0..40),
    ) {
        let clock = ManualClock::new();
        let mut original = World::new(&clock);
        for step in &before {
            if let Step::Advance(by) = step {
                clock.advance(tenths(*by));
            }
            original.take(step);
        }
        let mut copy = original.copy(&clock);
        prop_assert_eq!(copy.seen(true), original.seen(true));
        for step in &after {
            if let Step::Advance(by) = step {
                clock.advance(tenths(*by));
            }
            prop_assert_eq!(copy.take(step), original.take(step), "{:?}", step);
            prop_assert_eq!(copy.seen(false), original.seen(false), "after {:?}", step);
        }
        for world in [copy, original] {
            for hold in world.guards {
                drop(world.engine.release(hold));
            }
            clock.advance(tenths(100));
            prop_assert_eq!(world.engine.live_keys(), 0, "C13");
        }
    }
}
