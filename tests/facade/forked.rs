//! The default backend in children that are forked without `exec` (C4): a server that forks its
//! workers opens nothing again.

use std::io;
use std::os::unix::process::CommandExt;
use std::panic::catch_unwind;
use std::process::Command;
use std::time::Duration;

use locks::lock;

use crate::fresh_process::with_url;

#[lock("worked by {worker}")]
fn work(worker: u32) -> u32 {
    worker
}

#[lock("held by the parent", wait = false)]
fn skip() -> Option<()> {
    Some(())
}

/// What a worker does; a panic is its failure.
fn serve() {
    assert_eq!(work(1), 1);
    assert_eq!(skip(), None, "the parent holds it");
    let own = locks::named("of the child").wait(Duration::from_secs(20)).acquire().unwrap();
    own.check().unwrap();
    let listed = locks::list().unwrap();
    assert!(listed.iter().any(|lock| lock.key == "of the child"), "{listed:?}");
    own.release().unwrap();
}

#[test]
fn c4_a_forked_child_locks_by_default() {
    let directory = std::env::temp_dir().join(format!("locks-forked-{}", std::process::id()));
    let url = format!("file://{}", directory.display());
    with_url("forked::c4_a_forked_child_locks_by_default", Some(&url), || {
        for used_before in [false, true] {
            let held = used_before.then(|| {
                assert_eq!((work(0), skip()), (0, Some(())));
                locks::named("held by the parent").acquire().unwrap()
            });
            let mut command = Command::new("true");
            // SAFETY: it does more than is guaranteed to work in a process of several threads,
            // which is what is to be tested.
            #[expect(unsafe_code, reason = "the one way to run anything in a forked child")]
            unsafe {
                command.pre_exec(move || {
                    let well = match used_before {
                        true => catch_unwind(serve).is_ok(),
                        false => catch_unwind(|| assert_eq!(work(2), 2)).is_ok(),
                    };
                    if well { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
                })
            };
            assert!(command.status().unwrap().success());
            if let Some(held) = held {
                held.release().unwrap();
            }
        }
    });
    let _ = std::fs::remove_dir_all(directory);
}
