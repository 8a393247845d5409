use locks_core::{Engine, Mode};

use super::SECOND;
use super::line::World;
use crate::wire::Call;

/// Whether the engine had nothing left, and nobody else has it.
fn is_gone(engine: Engine) -> bool {
    let (left, weak) = ((engine.live_keys(), engine.known_keys()), engine.downgrade());
    drop(engine);
    left == (0, 0) && weak.upgrade().is_none()
}

#[test]
fn c13_an_arbiter_that_goes_leaves_nothing_of_its_engine() {
    let mut world = World::new();
    let (mut one, mut two) = (world.local(1), world.local(2));
    one.ask(&mut world, "plain", |_| {});
    one.ask(&mut world, "plain", |ask| ask.options.reentrant = true);
    one.ask(&mut world, "bounded", |ask| ask.options.hold_at_most = Some(60 * SECOND));
    one.ask(&mut world, "at least", |ask| ask.options.hold_at_least = Some(60 * SECOND));
    one.ask(&mut world, "of two", |ask| ask.options.mode = Mode::Permit { of: 2 });
    one.ask(&mut world, "a", |ask| ask.keys = vec!["a".into(), "b".into()]);
    for least in [SECOND, 60 * SECOND] {
        let key = format!("reserved for {least:?}");
        let held = one.ask(&mut world, &key, |ask| ask.options.hold_at_least = Some(least));
        one.end(&mut world, held);
    }
    two.ask(&mut world, "stolen", |_| {});
    two.ask(&mut world, "disowned", |_| {});
    two.say(&mut world, &Call::Disown { request: 2 });
    two.ask(&mut world, "plain", |_| {});
    two.ask(&mut world, "b", |ask| ask.keys = vec!["apart".into(), "b".into()]);
    world.clock.advance(2 * SECOND);
    one.ask(&mut world, "stolen", |ask| ask.options.steal_after = Some(SECOND));
    let before = world.arbiter.engine.clone();
    assert!(before.live_keys() >= 11, "{}", before.live_keys());
    world.restart();
    assert!(is_gone(before));
    let after = world.arbiter.engine.clone();
    assert!(after.live_keys() >= 9, "{}", after.live_keys());
    // By then the first reservation is over, and no alarm has rung.
    world.clock.advance(60 * SECOND);
    drop(world);
    assert!(is_gone(after));
}
