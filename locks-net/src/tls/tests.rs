//! Who gets in over TCP, who does not, and what they are told.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use locks_core::{Backend, ErrorKind, LockError, LostCause};
use rcgen::{CertificateParams, Issuer, KeyPair};

use super::{Authority, Certificate};
use crate::server::tests::{Scratch, until};
use crate::{Client, Clients, Fingerprint, NetBackend, NetBuilder, Secret, Server, ServerBuilder};

fn secret(pair: &str) -> Secret {
    Secret::parse(&pair.repeat(32)).unwrap()
}

fn named(name: &str, pair: &str) -> Secret {
    secret(pair).named(name).unwrap()
}

fn builder(scratch: &Scratch) -> ServerBuilder {
    Server::builder().state(scratch.path("state")).tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn address(server: &Server) -> String {
    server.addresses()[0].strip_prefix("locks://").unwrap().to_owned()
}

/// `localhost` is a name that certificates can have.
fn by_name(server: &Server) -> String {
    address(server).replace("127.0.0.1", "localhost")
}

fn backend(builder: NetBuilder) -> Backend {
    builder.connect(Duration::from_secs(20)).build().unwrap().into_backend()
}

#[track_caller]
fn refusal(builder: NetBuilder) -> String {
    let error = backend(builder).named("k").acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
    error.to_string()
}

/// An authority, which signs.
struct Signer(Issuer<'static, KeyPair>, PathBuf);

impl Signer {
    fn new(scratch: &Scratch, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let path = scratch.path(name);
        fs::write(&path, params.self_signed(&key).unwrap().pem()).unwrap();
        Self(Issuer::new(params, key), path)
    }

    fn authority(&self) -> Authority {
        Authority::read(&self.1).unwrap()
    }

    fn sign(&self, scratch: &Scratch, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let path = scratch.path("signed");
        fs::write(&path, certificate.pem() + &key.serialize_pem()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        Certificate::read(&path, &path).unwrap()
    }
}

fn expired(params: &mut CertificateParams) {
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
}

#[test]
fn n5_names_may_what_their_list_says_and_no_more() {
    let scratch = Scratch::new();
    let clients = Clients::from(secret("a1"))
        .client("b", Client::new().secret(secret("b1")).namespace("b/"))
        .unwrap();
    let server = builder(&scratch).clients(clients).start().unwrap();
    let all = backend(NetBackend::tcp(address(&server), secret("a1")));
    let bounded = backend(NetBackend::tcp(address(&server), named("b", "b1")));
    let kind = |outcome: Result<_, LockError>| outcome.map(drop).unwrap_err().kind();
    let other = all.named("k").acquire().unwrap();
    let held = all.named("b/k").acquire().unwrap();
    let error = bounded.named("k").wait(false).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains("only keys that begin with `b/`"), "{error}");
    let stealing = bounded.named("b/k").steal_after(Duration::ZERO).wait(false);
    assert_eq!(kind(stealing.acquire()), ErrorKind::Unauthorized);
    assert_eq!(kind(bounded.named("b/k").wait(false).acquire()), ErrorKind::Contended);
    let listed = bounded.list().unwrap();
    let keys = Vec::from_iter(listed.iter().map(|info| info.key.clone()));
    assert_eq!(keys, ["b/k"], "what is beyond its namespace is nobody's business");
    let evicted = bounded.evict("b/k", held.token()).block();
    assert_eq!(evicted.unwrap_err().kind(), ErrorKind::Unauthorized);
    assert!(all.evict("b/k", held.token()).block().unwrap());
    drop(bounded.named("b/k").wait(false).acquire().unwrap());
    drop((other, held));
}

#[test]
fn n5_a_secret_is_replaced_and_a_name_removed_without_a_restart() {
    let scratch = Scratch::new();
    let list = |secrets: &[&str]| {
        let both = secrets.iter().fold(Client::new(), |it, pair| it.secret(secret(pair)));
        Clients::from(secret("a1")).client("b", both).unwrap()
    };
    let server = builder(&scratch).clients(list(&["b1"])).start().unwrap();
    let client = |pair| NetBackend::tcp(address(&server), named("b", pair));
    let old = backend(client("b1"));
    let guard = old.named("k").acquire().unwrap();
    server.readmit(list(&["b1", "b2"]), None, None).unwrap();
    let new = backend(client("b2"));
    assert!(new.named("k").wait(false).acquire().unwrap_err().is_contended());
    guard.refresh().expect("its secret is still good");
    server.readmit(list(&["b2"]), None, None).unwrap();
    // Asked over the old connection or a new one, it is told at once: nobody waits here for as long
    // as `connect` says.
    until("the old secret is cut off", || refused(old.named("x").wait(false).acquire()));
    assert!(refused(old.named("x").acquire()), "who waits is told as well");
    let theirs = new.named("l").acquire().expect("the other secret of the name is good");
    let other = backend(NetBackend::tcp(address(&server), secret("a1")));
    assert!(other.named("l").wait(false).acquire().unwrap_err().is_contended());
    server.readmit(secret("a1"), None, None).unwrap();
    drop(other.named("l").acquire().expect("whose name is gone holds nothing"));
    drop(other.named("k").acquire().expect("and neither does its other session"));
    // It has heard of that, and does not go by its lease.
    until("the loss is told", || theirs.check().is_err());
    let error = theirs.release().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost { cause: LostCause::SessionEnded });
    until("the name is refused", || refused(new.named("y").wait(false).acquire()));
    let error = server.readmit(Clients::new(), None, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConfigured);
}

fn refused<T>(outcome: Result<T, LockError>) -> bool {
    outcome.is_err_and(|it| it.kind() == ErrorKind::Unauthorized)
}

#[test]
fn n5_rights_change_and_a_certificate_is_replaced_without_a_restart() {
    let scratch = Scratch::new();
    let ours = Signer::new(&scratch, "ours");
    let list = |client: Client| {
        let listed = client.secret(secret("b1")).namespace("b/");
        Clients::from(secret("a1")).client("b", listed).unwrap()
    };
    let server = builder(&scratch).clients(list(Client::new())).start().unwrap();
    let own = Certificate::of_server(&scratch.path("state")).unwrap().fingerprint();
    let client = || NetBackend::tcp(by_name(&server), named("b", "b1"));
    let here = backend(client().pin(own));
    let guard = here.named("b/k").acquire().unwrap();
    let all = backend(NetBackend::tcp(address(&server), secret("a1")));
    let held = all.named("b/l").acquire().unwrap();
    assert!(refused(here.evict("b/l", held.token()).block()));
    let signed = ours.sign(&scratch, |_| {});
    server.readmit(list(Client::new().admin()), Some(signed.clone()), None).unwrap();
    // The right is there over the connection that there is, whose certificate the server would not
    // show any more.
    until("it has the right", || here.evict("b/l", held.token()).block().is_ok());
    guard.refresh().expect("a connection that is there goes on");
    let pinned = backend(client().pin(signed.fingerprint()));
    drop(pinned.named("b/m").acquire().expect("a new one sees the new certificate"));
    drop(backend(client().authority(ours.authority())).named("b/m").acquire().unwrap());
    assert!(refusal(client().pin(own)).contains("pin that"));
    server.readmit(list(Client::new()), None, None).unwrap();
    drop(backend(client().pin(own)).named("b/m").acquire().expect("and its own one again"));
    assert!(refused(here.evict("b/k", guard.token()).block()), "the right is gone");
}

#[test]
fn n5_who_has_shown_a_certificate_is_asked_again_when_authorities_change() {
    let scratch = Scratch::new();
    let (ours, next) = (Signer::new(&scratch, "ours"), Signer::new(&scratch, "next"));
    let mine = ours.sign(&scratch, |_| {});
    let clients = || Clients::from(secret("a1")).others(Client::new());
    let server = builder(&scratch).clients(clients()).client_authority(ours.authority());
    let server = server.start().unwrap();
    let pin = Certificate::of_server(&scratch.path("state")).unwrap().fingerprint();
    let client = NetBackend::tcp(address(&server), None).pin(pin).certificate(mine);
    let client = backend(client);
    let guard = client.named("k").acquire().unwrap();
    server.readmit(clients(), None, Some(ours.authority())).unwrap();
    guard.refresh().expect("it goes on with its session by the same certificate");
    server.readmit(clients(), None, Some(next.authority())).unwrap();
    until("it is cut off", || refused(client.named("x").wait(false).acquire()));
    drop(guard);
}

#[test]
fn n5_a_server_is_known_by_its_pin_and_another_one_refused() {
    let scratch = Scratch::new();
    let server = builder(&scratch).clients(secret("a1")).start().unwrap();
    let own = Certificate::of_server(&scratch.path("state")).unwrap().fingerprint();
    let client = || NetBackend::tcp(address(&server), secret("a1"));
    drop(backend(client().pin(own)).named("k").acquire().unwrap());
    let text = refusal(client().pin(Fingerprint([7; 32])));
    assert!(text.contains(&own.to_string()) && text.contains("pin that"), "{text}");
    drop(server);
    assert_eq!(
        Certificate::of_server(&scratch.path("state")).unwrap().fingerprint(),
        own,
        "it stays"
    );
}

#[test]
fn n5_an_authority_is_asked_for_name_date_and_signature() {
    let scratch = Scratch::new();
    let (ours, foreign) = (Signer::new(&scratch, "ours"), Signer::new(&scratch, "foreign"));
    let server = |certificate| {
        builder(&scratch).clients(secret("a1")).certificate(certificate).start().unwrap()
    };
    let good = server(ours.sign(&scratch, |_| {}));
    let client = |address: String| NetBackend::tcp(address, secret("a1"));
    drop(backend(client(by_name(&good)).authority(ours.authority())).named("k").acquire().unwrap());
    let text = refusal(client(by_name(&good)).authority(foreign.authority()));
    assert!(text.contains("was not signed by the authority that `ca` names"), "{text}");
    let text = refusal(client(address(&good)).authority(ours.authority()));
    assert!(text.contains("is for other names"), "{text}");
    drop(good);
    let old = server(ours.sign(&scratch, expired));
    let text = refusal(client(by_name(&old)).authority(ours.authority()));
    assert!(text.contains("is no longer valid") && text.contains("--cert"), "{text}");
    // The secret alone does not ask for any of that.
    drop(backend(client(address(&old))).named("k").acquire().unwrap());
}

#[test]
fn n5_a_certificate_of_a_client_is_as_good_as_a_secret_if_it_is_on_the_list() {
    let scratch = Scratch::new();
    let (ours, foreign) = (Signer::new(&scratch, "ours"), Signer::new(&scratch, "foreign"));
    let mine = ours.sign(&scratch, |_| {});
    let listed = Client::new().certificate(mine.fingerprint()).namespace("b/");
    let clients = Clients::new().client("b", listed).unwrap();
    let server = builder(&scratch).clients(clients).client_authority(ours.authority());
    let server = server.start().unwrap();
    let pin = Certificate::of_server(&scratch.path("state")).unwrap().fingerprint();
    let client =
        |certificate| NetBackend::tcp(address(&server), None).pin(pin).certificate(certificate);
    drop(backend(client(mine.clone())).named("b/k").acquire().unwrap());
    assert!(refusal(client(mine.clone())).contains("begin with `b/`"));
    let text = refusal(client(ours.sign(&scratch, |_| {})));
    assert!(text.contains("`secret_file`"), "{text}");
    let text = refusal(client(foreign.sign(&scratch, |_| {})));
    assert!(text.contains("`locks serve --client-ca`"), "{text}");
    let text = refusal(client(ours.sign(&scratch, expired)));
    assert!(text.contains("has expired"), "{text}");
    let error = NetBackend::tcp(address(&server), None).certificate(mine).build().unwrap_err();
    assert!(error.to_string().contains("by `ca`"), "{error}");
}
