//! What errors say: what happened, who is in the way, and what mends it.

use std::time::Duration;

use locks_core::{ErrorKind, LockError};
use locks_net::{NetBackend, NetBuilder, Server};

use crate::place::{Place, secret};

/// What somebody is told who asks there.
fn refused(client: NetBuilder) -> LockError {
    client.build().unwrap().into_backend().named("k").acquire().unwrap_err()
}

/// The same, of somebody who does not try for long.
fn out_of_reach(client: NetBuilder) -> LockError {
    refused(client.connect(Duration::from_millis(20)))
}

#[test]
fn where_nobody_listens_it_says_what_would() {
    let place = Place::new();
    let (server, address) = place.serve_tcp();
    drop(server);
    let socket = place.socket();
    for (client, mend) in [
        (NetBackend::unix(&socket), format!("`locks serve --listen unix:{}`", socket.display())),
        (
            NetBackend::tcp(&address, secret()),
            format!("`locks serve --listen tcp:{address} --secret-file FILE`"),
        ),
        (NetBackend::machine(place.state()).serve(false), "nobody serves there now".to_owned()),
    ] {
        let error = out_of_reach(client);
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(text.contains(&mend), "{text}");
        assert_eq!(text.matches("reached").count(), 1, "it is said once: {text}");
    }
}

#[test]
fn a_path_without_a_socket_is_said_to_be_none() {
    let place = Place::new();
    let path = place.state();
    std::fs::create_dir(&path).unwrap();
    let error = out_of_reach(NetBackend::unix(path));
    assert!(error.to_string().contains("is no socket"), "{error}");
}

#[test]
fn n5_a_wrong_secret_is_said_with_the_settings_that_give_it() {
    let place = Place::new();
    let (_server, address) = place.serve_tcp();
    let other = locks_net::Secret::generate().unwrap();
    let error = refused(NetBackend::tcp(address, other));
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
    let text = error.to_string();
    assert!(text.contains("`secret_file`") && text.contains("`LOCKS_SECRET`"), "{text}");
}

#[test]
fn a_port_that_is_taken_is_said_to_be() {
    let place = Place::new();
    let (_server, address) = place.serve_tcp();
    let other = Place::new();
    let builder = Server::builder().state(other.state());
    let error = builder.tcp(address.parse().unwrap()).clients(secret()).start().unwrap_err();
    assert!(error.to_string().contains("name another port"), "{error}");
}
