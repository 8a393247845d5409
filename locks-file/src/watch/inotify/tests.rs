use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::super::pause;
use super::*;
use crate::kernel;

fn open(path: &std::path::Path) -> File {
    File::options().create(true).append(true).open(path).unwrap()
}

fn file(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("locks-watch-{name}-{}", std::process::id()))
}

#[test]
fn f5_closing_a_file_tells_whoever_watches_it() {
    let path = file("close");
    let (watched, signal) = (open(&path), Arc::<Signal>::default());
    let watching = watch(&watched, &signal, false).unwrap();
    drop(open(&path));
    let until = kernel::now() + 20_000_000_000;
    let raised = locks_core::Op::later(async { Ok(pause(&signal, until).await) }).block();
    assert!(raised.unwrap());
    std::fs::remove_file(&path).unwrap();
    drop(watching);
}

/// Both wait in blocked threads, of which one reads for the two.
#[test]
fn f5_blocked_threads_read_for_each_other() {
    let paths = [file("one"), file("other")];
    let (ready, go) = (std::sync::Barrier::new(3), std::sync::Barrier::new(3));
    thread::scope(|threads| {
        for path in &paths {
            threads.spawn(|| {
                let (watched, signal) = (open(path), Arc::<Signal>::default());
                let until = kernel::now() + 20_000_000_000;
                let waiting = async {
                    let watching = watch(&watched, &signal, false).unwrap();
                    ready.wait();
                    go.wait();
                    let raised = pause(&signal, until).await;
                    drop(watching);
                    Ok(raised)
                };
                assert!(locks_core::Op::later(waiting).block().unwrap());
            });
        }
        ready.wait();
        go.wait();
        for path in paths.iter().rev() {
            drop(open(path));
        }
    });
    paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
}

/// The first reads and leaves; the second, whom it calls, goes without having come; the third
/// waits. All watch one file, and are called in the order in which they began to.
#[test]
fn f5_whoever_is_called_to_read_and_goes_calls_the_next() {
    let path = file("called");
    let begin = || {
        let (watched, signal) = (open(&path), Arc::<Signal>::default());
        let watching = watch(&watched, &signal, false).unwrap();
        (watched, signal, watching)
    };
    let until = kernel::now() + 5_000_000_000;
    let turn = |at: usize, turns: &AtomicUsize| {
        while turns.load(Ordering::SeqCst) != at {
            thread::yield_now();
        }
    };
    let (turns, first) = (&AtomicUsize::new(0), &Mutex::new(None));
    thread::scope(|threads| {
        threads.spawn(|| {
            let going = async {
                let watching = begin();
                turns.store(1, Ordering::SeqCst);
                turn(4, turns);
                drop(watching);
                turns.store(5, Ordering::SeqCst);
                Ok(())
            };
            locks_core::Op::later(going).block().unwrap();
        });
        threads.spawn(|| {
            turn(1, turns);
            let reading = async {
                let (_watched, signal, watching) = begin();
                *first.lock().unwrap() = Some(signal.clone());
                turns.store(2, Ordering::SeqCst);
                pause(&signal, until).await;
                Ok(watching)
            };
            let watching = locks_core::Op::later(reading).block().unwrap();
            turns.store(4, Ordering::SeqCst);
            turn(5, turns);
            drop(watching);
            turns.store(6, Ordering::SeqCst);
        });
        let waiting = threads.spawn(|| {
            turn(2, turns);
            while lock().reader == ReaderRole::Nobody {
                thread::yield_now();
            }
            let waiting = async {
                let (_watched, signal, watching) = begin();
                turns.store(3, Ordering::SeqCst);
                let raised = pause(&signal, until).await;
                drop(watching);
                Ok(raised)
            };
            locks_core::Op::later(waiting).block().unwrap()
        });
        turn(3, turns);
        // For the third to be waiting; if it is not yet, it reads itself.
        thread::sleep(Duration::from_millis(20));
        first.lock().unwrap().take().unwrap().raise();
        turn(6, turns);
        // Long enough after the others have closed the file.
        thread::sleep(Duration::from_millis(20));
        drop(open(&path));
        assert!(waiting.join().unwrap(), "nobody reads");
    });
    std::fs::remove_file(&path).unwrap();
}

/// Woken by something else than its signal: it has nothing to do, and reads on.
#[test]
fn f5_woken_for_no_reason_a_blocked_thread_reads_on() {
    let path = file("no-reason");
    let (waker, wakes) = &(Mutex::new(None::<std::task::Waker>), AtomicUsize::new(0));
    thread::scope(|threads| {
        let waiting = threads.spawn(|| {
            let waiting = async {
                let (watched, signal) = (open(&path), Arc::<Signal>::default());
                let watching = watch(&watched, &signal, false).unwrap();
                let mut paused = pin!(pause(&signal, kernel::now() + 5_000_000_000));
                let raised = poll_fn(|cx| {
                    *waker.lock().unwrap() = Some(cx.waker().clone());
                    wakes.fetch_add(1, Ordering::SeqCst);
                    paused.as_mut().poll(cx)
                });
                let raised = raised.await;
                drop(watching);
                Ok(raised)
            };
            locks_core::Op::later(waiting).block().unwrap()
        });
        while wakes.load(Ordering::SeqCst) < 2 {
            // As soon as it waits.
            if lock().reader != ReaderRole::Nobody
                && let Some(waker) = &*waker.lock().unwrap()
            {
                waker.wake_by_ref();
            }
            thread::yield_now();
        }
        // For it to be parked, if it is going to be.
        thread::sleep(Duration::from_millis(20));
        drop(open(&path));
        assert!(waiting.join().unwrap(), "nobody reads");
    });
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn f5_the_thread_ends_when_nobody_watches() {
    let path = file("idle");
    let file = File::create(&path).unwrap();
    drop(watch(&file, &Arc::default(), false).unwrap());
    std::fs::remove_file(&path).unwrap();
    let start = Instant::now();
    // Another test of this process may be watching still.
    while lock().thread {
        assert!(start.elapsed() < Duration::from_secs(20));
        thread::yield_now();
    }
}
