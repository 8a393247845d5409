//! The block macro, in every spelling.

use locks::block::lock;
use locks::{ErrorKind, LockError};

use crate::polling::{is_free, now, pause, poll};

#[test]
fn braces_commas_and_angles() -> Result<(), LockError> {
    let n = 2;
    assert!(!lock!("blk_{n}" => { is_free("blk_2") })?);
    assert!(!lock!("blk_{n}", { is_free("blk_2") })?);
    assert!(!lock!("blk_{n}" => < is_free("blk_2") >)?);
    assert!(!lock!("blk_<n>", wait = false => { is_free("blk_2") })?);
    assert!(!lock!("blk_<n>", wait = false, { is_free("blk_2") },)?);
    assert!(!lock!(key = n, wait = "1s" => < is_free("2") >)?);
    assert!(is_free("blk_2") && is_free("2"));
    Ok(())
}

#[test]
fn angle_bodies_are_everything_between_the_first_and_the_last() {
    let (a, b) = (1, 2);
    assert!(lock!("blk_angle" => < a < b >).unwrap());
    assert!(lock!("blk_angle" => < b > a >).unwrap());
    assert_eq!(lock!("blk_angle" => < -a >).unwrap(), -1);
    assert_eq!(lock!("blk_angle" => <-a>).unwrap(), -1);
    let nested = lock!("blk_angle" => <
        let v: Vec<Vec<u8>> = Vec::new();
        let f = |x: u8| -> u8 { x >> 1 };
        match f(4) { 2 => v, _ => unreachable!() }
    >);
    assert!(nested.unwrap().is_empty());
    let cast = lock!("blk_angle" => < Vec::new() as Vec<Vec<u8>> >).unwrap();
    assert!(cast.is_empty());
    let cast = lock!("blk_angle" => <Vec::new() as Vec<Vec<u8>>>).unwrap();
    assert!(cast.is_empty());
    let () = lock!("blk_angle" => <>).unwrap();
    let () = lock!("blk_angle" => {}).unwrap();
}

#[test]
fn c11_several_keys() {
    let both = lock!("blk_b", "blk_a" => { is_free("blk_a") || is_free("blk_b") });
    assert!(!both.unwrap());
    let held = locks::named("blk_a").acquire().unwrap();
    let refused = lock!("blk_b", "blk_a", wait = false => { unreachable!("`blk_a` is held") });
    assert!(refused.is_err_and(|error: LockError| error.is_contended()));
    drop(held);
    assert!(is_free("blk_b"));
}

#[test]
fn the_body_acts_on_the_code_around_it() {
    fn returns() -> u8 {
        let _: Result<(), _> = lock!("blk_flow" => { return 1 });
        2
    }
    fn fails() -> Result<u8, std::num::ParseIntError> {
        let n = lock!("blk_flow" => { "x".parse::<u8>()? });
        Ok(n.unwrap())
    }
    assert_eq!(returns(), 1);
    assert!(fails().is_err());
    assert!(is_free("blk_flow"));
    let broken = 'a: {
        let _: Result<(), _> = lock!("blk_flow" => { break 'a 5 });
        6
    };
    assert_eq!(broken, 5);
    let mut seen = Vec::new();
    for n in 0..4 {
        let _ = lock!("blk_flow" => {
            if n == 1 {
                continue;
            }
            if n == 3 {
                break;
            }
            seen.push(n);
        });
    }
    assert_eq!(seen, [0, 2]);
    assert!(is_free("blk_flow"));
}

#[test]
fn the_body_may_borrow_and_move() {
    let mut list = vec![String::from("a")];
    let first: &str = lock!("blk_borrow" => { &list[0] }).unwrap();
    assert_eq!(first, "a");
    lock!("blk_borrow" => { list.push("b".into()) }).unwrap();
    let moved = lock!("blk_borrow_{list.len()}" => { list }).unwrap();
    assert_eq!(moved.len(), 2);
}

#[test]
fn blocks_nest() {
    let sum = lock!("blk_outer" => {
        let inner = lock!("blk_inner" => { u8::from(is_free("blk_outer")) + 1 });
        inner.unwrap() + u8::from(is_free("blk_inner"))
    });
    assert_eq!(sum.unwrap(), 2);
    let deadlock = lock!("blk_outer" => { lock!("blk_outer" => {}).unwrap_err().kind() });
    assert_eq!(deadlock.unwrap(), ErrorKind::Deadlock);
    let nested = lock!("blk_outer" => { lock!("blk_outer", reentrant => { 1 }) });
    assert_eq!(nested.unwrap().unwrap(), 1);
}

#[locks::lock("blk_function")]
fn with_a_block_inside() -> Result<u8, LockError> {
    lock!("blk_in_function" => { 3 })
}

#[test]
fn a_block_in_an_annotated_function() {
    assert_eq!(with_a_block_inside().unwrap(), 3);
}

#[test]
fn a_guard_and_otherwise() {
    let token = lock!("blk_guard", guard = held => { held.check().map(|()| held.token()) });
    let first = token.unwrap().unwrap();
    let later = lock!("blk_guard", guard = held => { held.token() }).unwrap();
    assert!(first < later);
    let _held = locks::named("blk_guard").acquire().unwrap();
    assert_eq!(lock!("blk_guard", wait = false, otherwise = 7 => { 1 }).unwrap(), 7);
    let said = lock!("blk_guard", wait = false, otherwise = |error| error.to_string() => {
        String::new()
    });
    assert!(said.unwrap().contains("is held by"));
    let fault = lock!("blk_guard", otherwise = 7 => { 1 });
    assert_eq!(fault.unwrap_err().kind(), ErrorKind::Deadlock);
}

#[test]
#[deny(warnings)]
fn a2_otherwise_may_leave_the_code_around_a_block() {
    fn returns() -> Option<u8> {
        let n = lock!("blk_leave", wait = false, otherwise = return None => { 1 });
        n.ok()
    }
    fn loops() -> u8 {
        let mut seen = 0;
        for n in 1..4 {
            seen += match lock!("blk_leave", wait = false, otherwise = continue => { n }) {
                Ok(n) => n,
                Err(error) => panic!("{error}"),
            };
        }
        seen
    }
    async fn returns_async() -> Option<u8> {
        lock!(async "blk_leave", wait = false, otherwise = return None => { 1 }).ok()
    }
    assert_eq!((returns(), loops(), now(returns_async())), (Some(1), 6, Some(1)));
    let _held = locks::named("blk_leave").acquire().unwrap();
    assert_eq!((returns(), loops(), now(returns_async())), (None, 0, None));
}

#[test]
fn an_asynchronous_block_awaits() {
    let n = 2;
    let mut block = Box::pin(async {
        let value = lock!(async "blk_async_{n}", wait = "1m" => {
            pause().await;
            assert!(!is_free("blk_async_2"));
            n + 1
        })?;
        assert!(is_free("blk_async_2"));
        Ok::<_, LockError>(value)
    });
    let held = locks::named("blk_async_2").acquire().unwrap();
    assert!(poll(block.as_mut()).is_pending(), "waits for the lock");
    drop(held);
    assert!(poll(block.as_mut()).is_pending(), "waits in the body");
    assert!(!is_free("blk_async_2"));
    match poll(block.as_mut()) {
        std::task::Poll::Ready(value) => assert_eq!(value.unwrap(), 3),
        std::task::Poll::Pending => panic!("still waits"),
    }
}

#[test]
fn asynchronous_blocks_in_every_spelling() {
    now(async {
        for _ in 0..2 {
            assert!(!lock!(async "blk_spelt" => { is_free("blk_spelt") }).unwrap());
            assert!(!lock!(async "blk_spelt", { is_free("blk_spelt") }).unwrap());
            assert!(!lock!(async "blk_spelt", wait = false => < is_free("blk_spelt") >).unwrap());
            assert!(!lock!(async "blk_spelt", "blk_too" => { is_free("blk_spelt") }).unwrap());
        }
        let token = lock!(async "blk_spelt", guard = held => {
            held.refresh_async().await.map(|()| held.token())
        });
        token.unwrap().unwrap();
        let found = 'a: {
            let _: Result<(), _> = lock!(async "blk_spelt" => { break 'a 5 });
            6
        };
        assert_eq!(found, 5);
        assert!(is_free("blk_spelt"));
    });
}

#[test]
fn c9_an_asynchronous_block_is_anonymous() {
    now(async {
        // The second time the key has been looked up already.
        for _ in 0..2 {
            let asked = lock!(async "blk_anonymous", reentrant => {});
            assert_eq!(asked.unwrap_err().kind(), ErrorKind::Unsupported);
        }
        for _ in 0..2 {
            let who = lock!(async "blk_anonymous" => { crate::polling::holders("blk_anonymous") });
            assert!(who.unwrap()[0].owner.is_none());
        }
    });
}

#[test]
fn c5_dropping_an_asynchronous_block_withdraws_or_releases() {
    async fn block() {
        lock!(async "blk_dropped" => { pause().await }).unwrap();
    }
    let held = locks::named("blk_dropped").acquire().unwrap();
    let mut waiting = Box::pin(block());
    assert!(poll(waiting.as_mut()).is_pending());
    drop(waiting);
    drop(held);
    let mut running = Box::pin(block());
    assert!(poll(running.as_mut()).is_pending());
    assert!(!is_free("blk_dropped"));
    drop(running);
    assert!(is_free("blk_dropped"));
}

#[test]
fn a4_the_body_is_told_what_type_is_expected() {
    type Outcome<T> = Result<T, LockError>;
    type Len = Box<dyn Fn(&str) -> usize>;
    fn blocking() -> Outcome<Len> {
        lock!("blk_type" => { Box::new(|text| text.len()) })
    }
    fn told() -> Outcome<Len> {
        lock!("blk_type", on_lost = "error", guard = held => {
            held.check()?;
            Box::new(|text| text.len())
        })
    }
    fn once() -> Outcome<Len> {
        lock!("blk_type_once", once_per = "1ms" => { Box::new(|text| text.len()) })
    }
    fn otherwise() -> Outcome<Len> {
        lock!("blk_type", wait = false, otherwise = Box::new(|_| 0) => { Box::new(|text| text.len()) })
    }
    async fn asynchronous() -> Outcome<Len> {
        lock!(async "blk_type" => { Box::new(|text| text.len()) })
    }
    async fn asynchronous_told() -> Outcome<Len> {
        lock!(async "blk_type", on_lost = "error" => { Box::new(|text| text.len()) })
    }
    for len in
        [blocking(), told(), once(), otherwise(), now(asynchronous()), now(asynchronous_told())]
    {
        assert_eq!(len.unwrap()("four"), 4);
    }
}

#[test]
fn a4_otherwise_leaves_with_a_value() {
    fn found(keys: &[&str]) -> u8 {
        let mut n = 0;
        'all: {
            for key in keys {
                n += 1;
                let free =
                    lock!("blk_leave_{key}", wait = false, otherwise = break 'all n => { true });
                let same = lock!(
                    "blk_leave_{key}",
                    wait = false,
                    otherwise = 'one: { break 'one false },
                    shared
                    => { true }
                );
                assert!(free.unwrap() && same.unwrap());
            }
            0
        }
    }
    let _held = locks::named("blk_leave_b").acquire().unwrap();
    assert_eq!(found(&["a", "b", "c"]), 2);
    assert_eq!(found(&["a", "c"]), 0);
}
