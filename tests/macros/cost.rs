//! A6: an uncontended lock allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use std::sync::LazyLock;

use locks::backend::Engine;
use locks::{Backend, lock};

use crate::polling::now;

thread_local! {
    static ALLOCATED: Cell<u32> = const { Cell::new(0) };
}

/// The system's allocator, which counts for each thread.
struct Counting;

// SAFETY: everything is the system allocator's doing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[lock("cost_literal", wait = "5s", steal_after = "1h", reentrant)]
fn literal() {}

#[lock("cost_{text}")]
fn template(text: &str) {}

#[lock("cost_literal")]
async fn literal_async() {}

#[lock("cost_{text}")]
async fn template_async(text: &str) {}

fn blocks(text: &str) {
    locks::block::lock!("cost_block" => {}).unwrap();
    locks::block::lock!("cost_{text}" => {}).unwrap();
}

async fn blocks_async(text: &str) {
    locks::block::lock!(async "cost_block" => {}).unwrap();
    locks::block::lock!(async "cost_{text}" => {}).unwrap();
}

/// Gives the key a slot that stays. Those of other keys come and go with their holds, which is the
/// engine's matter.
#[lock("cost_short")]
fn keep_the_slot() {}

/// Whether it can be done without. Where a test on another thread is met at a mutex, room for that
/// is made once.
fn allocates_nothing(all: impl Fn()) -> bool {
    (0..100).any(|_| {
        let before = ALLOCATED.get();
        all();
        ALLOCATED.get() == before
    })
}

#[test]
fn a6_an_uncontended_lock_allocates_nothing() {
    let all = || {
        literal();
        template("short");
        now(literal_async());
        now(template_async("short"));
        blocks("short");
        now(blocks_async("short"));
    };
    keep_the_slot();
    assert!(allocates_nothing(all));
}

/// One of its own: at that of the process another test's key may be where this one's would be.
static APART: LazyLock<Backend> = LazyLock::new(|| Backend::new(Engine::new()));

#[lock("{text}", backend = &*APART)]
fn any(text: &str) {}

#[lock("{text}", backend = &*APART)]
async fn any_async(text: &str) {}

#[lock("cost_once", wait = "5s", steal_after = "1h", reentrant)]
fn first_and_second() {}

#[lock("cost_once_async", wait = "5s")]
async fn first_and_second_async() -> Option<u8> {
    Some(1)
}

/// Nobody else keeps a slot for these keys: it comes and goes with each hold.
#[test]
fn a6_a_template_of_up_to_56_bytes_allocates_nothing() {
    let longest = "k".repeat(56);
    let keys = (1..=56).map(|len| &longest[..len]);
    let all = || {
        for key in keys.clone() {
            any(key);
            now(any_async(key));
        }
    };
    assert!(allocates_nothing(all));
}

#[test]
fn a6_a_literal_key_is_resolved_by_the_first_call() {
    first_and_second();
    assert_eq!(now(first_and_second_async()), Some(1));
    assert!(allocates_nothing(|| {
        first_and_second();
        assert_eq!(now(first_and_second_async()), Some(1));
    }));
}

thread_local! {
    static ASKED: Cell<u32> = const { Cell::new(0) };
}

/// An option that counts how often it is looked at.
fn patient() -> bool {
    ASKED.set(ASKED.get() + 1);
    true
}

#[lock("cost_pinned", wait = patient())]
fn pinned() -> Option<u8> {
    Some(1)
}

#[lock("cost_pinned", wait = patient())]
async fn pinned_async() -> Option<u8> {
    Some(1)
}

/// Only the way through the registry makes a request with options of the call.
#[test]
fn a6_a_free_literal_key_is_granted_at_its_own_slot() {
    let all = || {
        assert!(pinned().is_some() && now(pinned_async()).is_some());
        locks::block::lock!("cost_pinned", wait = patient() => {}).unwrap();
        now(async { locks::block::lock!(async "cost_pinned", wait = patient() => {}) }).unwrap();
    };
    all();
    assert_eq!(ASKED.replace(0), 4, "each site has to find its slot");
    // A slot that a test on another thread looks at just then is granted the other way.
    let found = (0..100).any(|_| {
        all();
        ASKED.replace(0) == 0
    });
    assert!(found);
}

#[test]
fn a6_the_counter_counts() {
    let before = ALLOCATED.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATED.get() - before, 1);
}
