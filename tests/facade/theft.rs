//! What is told of thefts between processes, of which the victim may not be there any more.

use std::sync::{Arc, Mutex};
use std::time::Duration;
#[cfg(feature = "net")]
use std::time::Instant;

use locks::file::FileBackend;
use tracing::{Level, Metadata};

use crate::listens::Listens;

#[test]
fn c6_a_thief_of_a_file_tells_of_both_parties() {
    let directory = std::env::temp_dir().join(format!("locks-theft-{}", std::process::id()));
    // Two clients, as two processes would have them.
    let [victim, thief] = [(); 2].map(|()| FileBackend::new(&directory).unwrap().into_backend());
    let held = victim.named("k").acquire().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = told.clone();
    let listens = Listens {
        wants: |metadata: &Metadata<'_>| *metadata.level() == Level::WARN,
        told: move |text| hears.lock().unwrap().push(text),
    };
    let stolen = tracing::subscriber::with_default(listens, || {
        thief.named("k").steal_after(Duration::ZERO).wait(false).acquire().unwrap()
    });
    assert!(held.check().is_err());
    let told = told.lock().unwrap();
    let event = told.iter().find(|text| text.contains("was taken over")).expect("it is told");
    let pid = std::process::id();
    for part in [
        "key=\"k\"",
        &format!("token={} ", held.token()),
        &format!("thief_token={}", stolen.token()),
        "tests/facade/theft.rs",
    ] {
        assert!(event.contains(part), "«{part}» in {event}");
    }
    assert_eq!(event.matches(&format!("process {pid}")).count(), 2, "{event}");
    drop((held, stolen));
    std::fs::remove_dir_all(directory).unwrap();
}

/// What a client of a server has lost is told in its process, once, and by which thread is up to
/// chance: so every thread is listened to.
#[cfg(feature = "net")]
#[test]
fn c8_a_client_tells_of_what_it_has_lost() {
    use locks::net::{NetBackend, Server};

    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = told.clone();
    let listens = Listens {
        wants: |metadata: &Metadata<'_>| *metadata.level() == Level::WARN,
        told: move |text: String| {
            if text.contains("lost-by-a-client") {
                hears.lock().unwrap().push(text);
            }
        },
    };
    tracing::subscriber::set_global_default(listens).unwrap();
    let directory = std::env::temp_dir().join(format!("locks-loss-{}", std::process::id()));
    let socket = directory.join("socket");
    let server = Server::builder().state(&directory).unix(&socket).start().unwrap();
    let clients = [(); 2].map(|()| NetBackend::unix(&socket).build().unwrap().into_backend());
    let [victim, thief] = clients.each_ref().map(|client| client.named("lost-by-a-client"));
    let held = victim.acquire().unwrap();
    let token = held.token();
    let stolen = thief.steal_after(Duration::ZERO).wait(false).acquire().unwrap();
    let start = Instant::now();
    while told.lock().unwrap().is_empty() && start.elapsed() < Duration::from_secs(60) {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    assert!(held.check().is_err());
    drop((held, stolen));
    let told = told.lock().unwrap();
    let [event] = &told[..] else { panic!("once: {told:?}") };
    assert!(event.starts_with("(root) ") && event.contains("was lost: "), "{event}");
    assert!(event.contains(&format!("token={token} ")), "{event}");
    drop(server);
    std::fs::remove_dir_all(directory).unwrap();
}
