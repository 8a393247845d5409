//! What is asked for.

use std::time::Duration;

use locks_core::{Mode, Options, OwnerChain, OwnerId, SharedOwner, Wait};

use super::plan::Plan;
use super::random::SeededRandom;
use crate::history::{Ask, KeptBy};
use crate::wire::Acquire;

/// The kind of owners that are threads.
const THREAD: u8 = 1;

/// What is held already, and by whom.
pub(super) struct Around<'a> {
    pub(super) thread: Option<u64>,
    pub(super) held: Vec<(&'a [String], Mode)>,
    /// Something is held of which nobody knows that it is held by the same.
    pub(super) is_anonymous: bool,
    pub(super) kept: KeptBy,
    /// Of the session.
    pub(super) lease: Duration,
}

/// A request of somebody who holds what is around it.
pub(super) fn ask(
    plan: &Plan,
    random: &mut SeededRandom,
    around: &Around<'_>,
) -> (Box<Acquire>, Ask) {
    let mut options = Options::default();
    let mut keys = Vec::new();
    let again = random.pick(&around.held).filter(|_| around.thread.is_some() && random.percent(60));
    if let Some((held, mode)) = again
        && !matches!(mode, Mode::Permit { .. })
    {
        // Once more, or as the only one.
        keys.extend(random.pick(held).cloned());
        options.reentrant = true;
        options.mode = if random.percent(50) { Mode::Exclusive } else { *mode };
    } else if random.percent(15) {
        keys.push("permits".to_owned());
        options.mode = if random.percent(95) {
            let of = *random.pick(&[1, 2, 2, 2, 4]).unwrap_or(&2);
            let take =
                if random.percent(30) { random.within(1..u64::from(of) + 1) as u32 } else { 1 };
            Mode::Permit { take, of }
        } else {
            Mode::Exclusive
        };
    } else {
        let several = if random.percent(20) { random.within(2..4) } else { 1 };
        for _ in 0..several {
            keys.push(format!("key {}", random.within(0..plan.keys as u64)));
        }
        keys.sort_unstable();
        keys.dedup();
        options.mode = if random.percent(35) { Mode::Shared } else { Mode::Exclusive };
        options.reentrant = around.thread.is_some() && random.percent(20);
    }
    options.wait = Some(match random.within(0..10) {
        0..2 => Wait::Try,
        2..5 => Wait::AtMost(random.millis(1..500)),
        // Nobody would know that such a one waits for itself (C10).
        _ if around.is_anonymous => Wait::AtMost(random.millis(1..500)),
        _ => Wait::Forever,
    });
    options.fair = *random.pick(&[None, None, None, Some(true), Some(false)]).unwrap_or(&None);
    options.steal_after = random.percent(12).then(|| random.millis(10..300));
    if around.held.is_empty() && !options.reentrant {
        options.hold_at_least = random.percent(12).then(|| random.millis(20..400));
        options.hold_at_most = random.percent(8).then(|| random.millis(150..300));
    }
    if random.percent(10) {
        options.lease = Some(random.millis(300..1500));
    }
    let thread = around.thread.and_then(|thread| OwnerId::from_parts(0, THREAD, thread));
    let within = thread.into_iter().collect::<OwnerChain>();
    // In the name of those at other clients, who enter what they hold.
    let locks = !matches!(options.mode, Mode::Permit { .. });
    let shared =
        (thread.is_some() && locks && random.percent(15)).then(|| random.within(1..3) as u8);
    if shared.is_some() && options.hold_at_least.is_none() && options.hold_at_most.is_none() {
        options.reentrant |= random.percent(60);
    }
    let lease = options.lease.filter(|_| around.kept == KeptBy::Lease);
    let told = Ask {
        keys: keys.clone(),
        mode: options.mode,
        owner: around.thread.filter(|_| shared.is_none()),
        shared,
        reentrant: options.reentrant,
        steal_after: options.steal_after,
        at_least: options.hold_at_least,
        at_most: options.hold_at_most,
        lease: lease.unwrap_or(around.lease),
    };
    let acquire = Acquire {
        request: 0,
        keys,
        options,
        owner: thread.filter(|_| shared.is_none()),
        shared: shared.map(|of| SharedOwner::from_bytes([of; 16])),
        within,
        opens_scope: false,
        site: 0,
        waited: Duration::ZERO,
        label: None,
    };
    (Box::new(acquire), told)
}
