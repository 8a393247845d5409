//! Sockets as files, and addresses that are refused.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use locks_core::{ErrorKind, LockError};

use super::child::Other;
use super::line::Line;
use super::{Scratch, until};
use crate::secret::Secret;
use crate::server::Server;
use crate::wire::Call;

fn start(scratch: &Scratch, socket: &Path) -> Result<Server, LockError> {
    Server::builder().unix(socket).state(scratch.path("state")).start()
}

/// It is refused with these words, and what is at the path stays what it was.
fn refused(scratch: &Scratch, socket: &Path, words: &str) {
    let before = fs::symlink_metadata(socket).unwrap();
    let error = start(scratch, socket).unwrap_err();
    assert!(error.to_string().contains(words), "{error}");
    let after = fs::symlink_metadata(socket).unwrap();
    assert_eq!(before.file_type(), after.file_type());
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
}

#[test]
fn f24_what_is_no_socket_is_left_alone() {
    let scratch = Scratch::new();
    let file = scratch.path("file");
    fs::write(&file, "precious").unwrap();
    refused(&scratch, &file, "no socket");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    let directory = scratch.path("directory");
    fs::create_dir(&directory).unwrap();
    refused(&scratch, &directory, "no socket");

    let fifo = scratch.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    refused(&scratch, &fifo, "no socket");

    // Also where it leads to a socket on which nobody listens.
    drop(UnixListener::bind(scratch.path("stale")).unwrap());
    let link = scratch.path("link");
    std::os::unix::fs::symlink(scratch.path("stale"), &link).unwrap();
    refused(&scratch, &link, "no socket");
    assert!(fs::symlink_metadata(scratch.path("stale")).unwrap().file_type().is_socket());
}

#[test]
fn a_name_that_is_too_long_for_a_socket_hears_by_how_much_at_both_ends() {
    let scratch = Scratch::new();
    let name = "s".repeat(200);
    let path = scratch.path(&name);
    let client = crate::NetBackend::unix(&path).build().unwrap();
    let lock = locks_core::Backend::new(client);
    let asked = lock.named("k").wait(false).acquire().unwrap_err();
    for error in [start(&scratch, &path).unwrap_err(), asked] {
        let length = path.as_os_str().len();
        let expected = format!("and this one has {length}, of which 200 are its name");
        assert!(error.to_string().contains(&expected), "{error}");
    }
    assert!(
        fs::read_dir(path.parent().unwrap())
            .unwrap()
            .all(|entry| { !entry.unwrap().file_name().to_string_lossy().contains(&name) })
    );
}

#[test]
fn f24_a_directory_that_others_write_to_is_refused() {
    let scratch = Scratch::new();
    let open = scratch.path("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let error = start(&scratch, &open.join("socket")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConfigured);
    assert!(error.to_string().contains("chmod go-w"), "{error}");
    assert!(fs::read_dir(&open).unwrap().next().is_none(), "nothing was left there");
    // As `/tmp` is.
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    start(&scratch, &open.join("socket")).unwrap();
    let error = start(&scratch, &scratch.path("missing/socket")).unwrap_err();
    let advice = format!("make it with `mkdir -p {}`", scratch.path("missing").display());
    assert!(error.to_string().ends_with(&advice), "{error}");
}

#[test]
fn a_socket_is_the_users_own_unless_others_are_let_in() {
    let scratch = Scratch::new();
    let mode = || fs::symlink_metadata(scratch.socket()).unwrap().permissions().mode() & 0o777;
    let server = scratch.serve(|_| {});
    assert_eq!(mode(), 0o600);
    drop(server);
    let builder = Server::builder().unix(scratch.socket()).state(scratch.path("state"));
    let _server = builder.allow_user(12345).start().unwrap();
    assert_eq!(mode(), 0o666);
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let scratch = Scratch::new();
    let mut killed = Other::new("server", scratch.as_ref(), "");
    killed.kill();
    assert!(scratch.socket().exists(), "who is killed leaves it");
    let _server = scratch.serve(|_| {});
    let mut line = Line::local(&scratch.socket());
    line.acquire("k").unwrap();

    let other = Server::builder().unix(scratch.socket()).state(scratch.path("other"));
    let error = other.start().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Contended);
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    assert!(Line::local(&scratch.socket()).is_contended("k"));
    let left: Vec<_> = fs::read_dir(&scratch).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.iter().all(|path| !path.ends_with(".socket")), "{left:?}");
}

#[test]
fn n4_two_servers_on_one_directory_the_second_refuses() {
    let scratch = Scratch::new();
    let _server = scratch.serve(|_| {});
    let error = start(&scratch, &scratch.path("second")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Contended);
    assert!(!scratch.path("second").exists());
}

/// FAULTS 26: also by the one that every started program is, from the fork until it runs.
#[test]
fn n4_a_forked_child_keeps_neither_directory_nor_port_of_a_server_that_has_stopped() {
    let scratch = Scratch::new();
    // In a process of its own: the child has all open that the tests beside this one have.
    let _forking = Other::new("forking", scratch.as_ref(), "");
}

#[test]
fn n5_over_tcp_somebody_has_to_be_let_in_and_nobody_without_it() {
    let scratch = Scratch::new();
    let state = || Server::builder().state(scratch.path("state"));
    let nobody = state().tcp("127.0.0.1:0".parse().unwrap());
    let in_vain = state().unix(scratch.socket()).clients(Secret::generate().unwrap());
    for (builder, why) in [(nobody, "let nobody in"), (in_vain, "are for TCP")] {
        let error = builder.start().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConfigured);
        assert!(error.to_string().contains(why), "{error}");
    }
    assert!(!scratch.path("state").exists(), "nothing was begun");
}

#[test]
fn a_server_says_what_it_lacks() {
    let scratch = Scratch::new();
    let error = Server::builder().unix(scratch.socket()).start().unwrap_err();
    assert!(error.to_string().contains("`state`"), "{error}");
    let error = Server::builder().state(scratch.path("state")).start().unwrap_err();
    assert!(error.to_string().contains("`unix`"), "{error}");
}

/// Nobody goes by anything that was granted there: it makes way at once.
#[test]
fn n3_a_server_whose_lock_was_removed_waits_for_none_of_its_clients_that_holds_nothing() {
    let scratch = Scratch::new();
    let hour = Duration::from_secs(3600);
    let server = scratch.serve(|limits| (limits.lease, limits.longest_lease) = (hour, hour));
    let mut line = Line::local(&scratch.socket());
    line.acquire("k").unwrap();
    line.say(&Call::End { request: 1 });
    line.confirm().unwrap();
    // Without a word: its process lives, and its session is kept.
    drop(line);
    let observer = server.observer();
    until("it has noticed", || {
        let seen = observer.observe().block().unwrap();
        seen.clients.iter().all(|client| !client.connected)
    });
    fs::remove_file(scratch.path("state/server.lock")).unwrap();
    let (gone, has_gone) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(server);
        gone.send(()).unwrap();
    });
    has_gone.recv_timeout(Duration::from_secs(60)).expect("it does not wait for the lease");
}

#[test]
fn a_server_whose_socket_or_lock_was_removed_ends_and_says_what_is_kept() {
    let (kept, lost) = ("locks are kept for the next one", "locks was told that they are lost");
    for (removed, told) in [("socket", kept), ("state/server.lock", lost), ("state", lost)] {
        let scratch = Scratch::new();
        let server = scratch.serve(|_| {});
        if fs::remove_file(scratch.path(removed)).is_err() {
            fs::remove_dir_all(scratch.path(removed)).unwrap();
        }
        until("it ends", || !server.is_running());
        let error = server.wait().unwrap_err().to_string();
        assert!(error.contains("was removed") && error.contains(told), "{removed}: {error}");
        assert_eq!(error.contains(kept), told == kept, "{removed}: {error}");
        assert!(!server.is_running());
        // The next one goes on.
        scratch.serve(|_| {});
    }
}
