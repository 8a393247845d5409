use std::sync::Barrier;
use std::thread;

use locks::backend::Engine;
use locks::{Backend, ErrorKind, Kind, lock};

use crate::fresh_process::with_url;

fn keys(backend: &Backend) -> Vec<String> {
    backend.list().unwrap().into_iter().map(|lock| lock.key).collect()
}

fn is_not_configured(error: &locks::LockError, saying: &str) {
    assert_eq!(error.kind(), ErrorKind::NotConfigured);
    assert!(error.to_string().contains(saying), "{error}");
}

#[cfg(not(any(feature = "file", feature = "net")))]
fn assert_the_default_serves() {
    let _guard = locks::named("k").acquire().unwrap();
    assert_eq!(keys(&Backend::process()), ["k"]);
    assert_eq!(locks::list().unwrap()[0].key, "k");
}

/// The widest backend that is compiled in: this user's, whatever the environment says of homes.
#[cfg(any(feature = "file", feature = "net"))]
fn assert_the_default_serves() {
    let key = format!("locks-test-{}", std::process::id());
    let guard = by_default(&key);
    assert!(keys(&Backend::process()).is_empty());
    let url = if cfg!(feature = "net") { "net:" } else { "file:" };
    let same = locks::open(url).unwrap();
    assert!(same.named(&*key).wait(false).acquire().unwrap_err().is_contended());
    assert!(locks::list().unwrap().iter().any(|lock| lock.key == key));
    drop(guard);
    #[cfg(all(feature = "file", not(feature = "net")))]
    {
        let files = locks::file::FileBackend::open_default().unwrap();
        std::fs::remove_file(files.path_of(&key).unwrap()).unwrap();
    }
}

/// Patient with others of this user, whose default may be another backend just now: other tests.
#[cfg(any(feature = "file", feature = "net"))]
fn by_default(key: &str) -> locks::Guard {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        match locks::named(key).acquire() {
            Err(error)
                if error.to_string().contains("is the default backend of other processes")
                    && std::time::Instant::now() < deadline =>
            {
                thread::sleep(std::time::Duration::from_millis(10));
            }
            outcome => return outcome.unwrap(),
        }
    }
}

#[test]
fn by_default_the_widest_backend_serves() {
    with_url("choice::by_default_the_widest_backend_serves", None, assert_the_default_serves);
}

#[test]
fn the_url_serves_functions_blocks_and_builders() {
    #[lock("attribute")]
    fn annotated(backend: &Backend) -> Vec<String> {
        keys(backend)
    }
    let test = "choice::the_url_serves_functions_blocks_and_builders";
    with_url(test, Some("memory:?namespace=here"), || {
        let process = Backend::process();
        assert_eq!(annotated(&process), ["here/attribute"]);
        let inside = locks::block::lock!("block" => { keys(&process) });
        assert_eq!(inside.unwrap(), ["here/block"]);
        let _guard = locks::named("named").acquire().unwrap();
        let _other = locks::all(["b", "a"]).acquire().unwrap();
        let mut found = keys(&process);
        found.sort();
        assert_eq!(found, ["here/a", "here/b", "here/named"]);
    });
}

#[test]
fn a_url_that_makes_no_sense_fails_the_acquisition_and_settles_nothing() {
    let test = "choice::a_url_that_makes_no_sense_fails_the_acquisition_and_settles_nothing";
    with_url(test, Some("mysql://db"), || {
        let error = locks::named("k").acquire().unwrap_err();
        is_not_configured(&error, "`LOCKS_URL`: `mysql:` is no scheme");
        is_not_configured(&locks::list().unwrap_err(), "`LOCKS_URL`");
        locks::install(Engine::new()).unwrap();
        drop(locks::named("k").acquire().unwrap());
    });
}

/// It is mostly a variable that was not set where it should have been, and the default excludes
/// fewer.
#[test]
fn an_empty_url_is_an_error_and_not_the_default() {
    with_url("choice::an_empty_url_is_an_error_and_not_the_default", Some(""), || {
        let error = locks::named("k").acquire().unwrap_err();
        is_not_configured(&error, "`LOCKS_URL`: an empty URL names no backend: leave it out");
        let error = locks::open("").unwrap_err();
        is_not_configured(&error, "an empty URL names no backend: leave it out altogether");
    });
}

#[cfg(feature = "file")]
#[test]
fn a_url_that_makes_sense_fails_as_its_backend_does() {
    let test = "choice::a_url_that_makes_sense_fails_as_its_backend_does";
    with_url(test, Some("file:///dev/null/locks"), || {
        let error = locks::named("k").acquire().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().starts_with("`LOCKS_URL`: lock directory `"), "{error}");
    });
}

#[test]
fn what_is_installed_goes_before_the_url() {
    with_url("choice::what_is_installed_goes_before_the_url", Some("nonsense"), || {
        let engine = Backend::new(Engine::new());
        locks::install(engine.clone()).unwrap();
        let _guard = locks::named("k").acquire().unwrap();
        assert_eq!(keys(&engine), ["k"]);
        assert!(keys(&Backend::process()).is_empty());
    });
}

#[test]
fn installing_twice_is_refused() {
    with_url("choice::installing_twice_is_refused", None, || {
        let engine = Backend::new(Engine::new());
        locks::install(engine.clone()).unwrap();
        let error = locks::install(Engine::new()).unwrap_err();
        is_not_configured(&error, "`locks::install` was called before");
        let _guard = locks::named("k").acquire().unwrap();
        assert_eq!(keys(&engine), ["k"], "the first one stays");
    });
}

#[test]
fn installing_after_the_first_acquisition_is_refused() {
    with_url("choice::installing_after_the_first_acquisition_is_refused", Some("memory:"), || {
        let _guard = locks::named("k").acquire().unwrap();
        let error = locks::install(Engine::new()).unwrap_err();
        is_not_configured(&error, "`locks::install` came too late");
        assert!(locks::named("k").wait(false).acquire().unwrap_err().is_contended());
    });
}

#[test]
fn installing_after_an_annotated_function_ran_is_refused() {
    #[lock("literal")]
    fn annotated() {}
    with_url(
        "choice::installing_after_an_annotated_function_ran_is_refused",
        Some("memory:"),
        || {
            annotated();
            let error = locks::install(Engine::new()).unwrap_err();
            is_not_configured(&error, "`locks::install` came too late");
        },
    );
}

#[test]
fn a_backend_named_at_the_call_settles_nothing() {
    with_url("choice::a_backend_named_at_the_call_settles_nothing", Some("nonsense"), || {
        let process = Backend::process();
        let _guard = locks::named("k").on(&process).acquire().unwrap();
        locks::install(Engine::new()).unwrap();
    });
}

#[test]
fn weak_locks_go_to_the_backend_installed_for_them() {
    with_url("choice::weak_locks_go_to_the_backend_installed_for_them", None, || {
        let weak = Backend::new(Engine::new());
        locks::install_weak(weak.clone()).unwrap();
        let _weak = locks::named("k").kind(Kind::Weak).acquire().unwrap();
        // Strong ones are still to be settled.
        let strong = Backend::new(Engine::new());
        locks::install(strong.clone()).unwrap();
        let _strong = locks::named("k").acquire().unwrap();
        assert_eq!((keys(&weak), keys(&strong)), (vec!["k".into()], vec!["k".into()]));
        let error = locks::install_weak(Engine::new()).unwrap_err();
        is_not_configured(&error, "`locks::install_weak` was called before");
    });
}

#[test]
fn weak_locks_go_to_the_default_otherwise() {
    with_url("choice::weak_locks_go_to_the_default_otherwise", None, || {
        let engine = Backend::new(Engine::new());
        locks::install(engine.clone()).unwrap();
        let _weak = locks::named("k").kind(Kind::Weak).acquire().unwrap();
        assert_eq!(keys(&engine), ["k"]);
        let error = locks::install_weak(Engine::new()).unwrap_err();
        is_not_configured(&error, "`locks::install_weak` came too late");
    });
}

#[test]
fn an_installation_that_races_acquisitions_serves_all_of_them_or_none() {
    let test = "choice::an_installation_that_races_acquisitions_serves_all_of_them_or_none";
    with_url(test, None, || {
        let engine = Backend::new(Engine::new());
        let start = Barrier::new(5);
        let held = Barrier::new(5);
        thread::scope(|threads| {
            for number in 0..4 {
                let (start, held) = (&start, &held);
                threads.spawn(move || {
                    start.wait();
                    let _guard = locks::named(format!("k{number}")).acquire().unwrap();
                    held.wait();
                    held.wait();
                });
            }
            start.wait();
            let installed = locks::install(engine.clone()).is_ok();
            held.wait();
            let served = keys(&engine).len();
            held.wait();
            assert_eq!(served, if installed { 4 } else { 0 });
        });
    });
}

#[test]
fn an_opened_backend_can_be_installed() {
    with_url("choice::an_opened_backend_can_be_installed", None, || {
        locks::install(locks::open("memory:?wait=30ms").unwrap()).unwrap();
        let _guard = locks::named("k").acquire().unwrap();
        let waiting = thread::spawn(|| locks::named("k").acquire().map(drop));
        assert_eq!(waiting.join().unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    });
}
