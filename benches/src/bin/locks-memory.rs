//! Counts bytes: what a live key costs, and what is left when all keys are gone.
//!
//! A program of its own, because a counting allocator would slow the timed rows down. It prints
//! one line per figure, `what<TAB>who<TAB>values`; `locks-benches memory` starts it and makes
//! tables of that. Each value comes from a fresh process of this program, so that no table is
//! still warm from an earlier one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use locks_benches::peers::{DashMapOfArcs, KeyMutex, KeyedLock, Lockable, MapOfArcs, Named};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to `System` as it came; counting touches no memory of theirs.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above; the block came from `System`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Numbers of keys spread over one doubling: tables grow by doubling, so that what a key costs
/// depends on how full they happen to be.
const COUNTS: [&str; 5] = ["60000", "70000", "80000", "95000", "110000"];

const WHAT: [(&str, &[&str]); 4] = [
    ("live key", &COUNTS),
    ("guard", &["1"]),
    ("left", &["1000000"]),
    ("left after the peak", &["100000"]),
];

const WHO: [&str; 6] = ["locks", "HashMap", "DashMap", "key-mutex", "keyed-lock", "lockable"];

fn main() {
    // It counts what the engine costs, whatever the environment says.
    locks::install(locks::Backend::process()).expect("nothing has been locked yet");
    let arguments = std::env::args().skip(1).collect::<Vec<String>>();
    match arguments.as_slice() {
        [] => all(),
        [what, who, count] => print(&one(what, who, count.parse().expect("a number of keys"))),
        _ => panic!("start it without arguments, or with what, who and a number of keys"),
    }
}

fn all() {
    for (what, counts) in WHAT {
        for who in WHO {
            let values = counts.iter().map(|count| in_fresh_process([what, who, count]));
            print(&format!("{what}\t{who}\t{}", values.collect::<Vec<_>>().join(" ")));
        }
    }
}

fn in_fresh_process(arguments: [&str; 3]) -> String {
    let this = std::env::current_exe().expect("a running program has a path");
    let output = Command::new(this).args(arguments).stderr(Stdio::inherit()).output();
    let output = output.expect("what runs can be started again");
    assert!(output.status.success(), "{arguments:?} failed: its error is above");
    String::from_utf8(output.stdout).expect("it prints a number").trim().to_owned()
}

fn one(what: &str, who: &str, count: usize) -> String {
    match who {
        "locks" => {
            measure(what, count, |key| locks::named(key).acquire().expect("nobody else has it"))
        }
        "HashMap" => peer::<MapOfArcs>(what, count),
        "DashMap" => peer::<DashMapOfArcs>(what, count),
        "key-mutex" => peer::<KeyMutex>(what, count),
        "keyed-lock" => peer::<KeyedLock>(what, count),
        "lockable" => peer::<Lockable>(what, count),
        _ => panic!("nobody is called `{who}`"),
    }
    .to_string()
}

fn peer<P: Named + Default>(what: &str, count: usize) -> usize {
    let locks = P::default();
    measure(what, count, |key| locks.lock(key.to_owned()))
}

fn measure<G>(what: &str, count: usize, lock: impl Fn(&str) -> G) -> usize {
    // Room for the guards first: it is the caller's, and not part of what a key costs. What is
    // made at first use comes after, and so counts as left behind.
    let mut guards = Vec::with_capacity(if what == "left" { 1 } else { count });
    let before = LIVE.load(Ordering::Relaxed);
    let added = || LIVE.load(Ordering::Relaxed).saturating_sub(before);
    match what {
        "guard" => size_of::<G>(),
        "left" => {
            for id in 0..count {
                guards.push(lock(&text(id)));
                guards.clear();
            }
            added()
        }
        "left after the peak" => {
            guards.extend((0..count).map(|id| lock(&text(id))));
            guards.clear();
            added()
        }
        "live key" => {
            guards.extend((0..count).map(|id| lock(&text(id))));
            added() / count - text(0).len()
        }
        _ => panic!("nothing is called `{what}`"),
    }
}

fn text(id: usize) -> String {
    format!("key:{id:07}")
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn print(line: &str) {
    println!("{line}");
}
