//! The examples of `PROTOCOL.md`.

use std::sync::Arc;
use std::time::Duration;

use locks_core::{Options, OwnerId, ProcessInfo, Token, Wait};

use super::super::{
    Acquire, Call, ClientHello, Event, Greeting, How, Open, Opened, ServerHello, VERSIONS,
    join_frame, put_frame,
};
use super::Message;
use crate::access::Fingerprint;
use crate::secret::{ClientHandshake, Proving, Secret, Secured, ServerHandshake};

const SERVER: [u8; 16] = [0x5e; 16];
const CLIENT_NONCE: [u8; 32] = [0xc1; 32];
const SERVER_NONCE: [u8; 32] = [0x5a; 32];
const CERTIFICATE: [u8; 32] = [0xce; 32];

/// The bytes of the blocks of `PROTOCOL.md`, in their order.
fn examples() -> Vec<(String, Vec<u8>)> {
    let blocks = include_str!("../../../PROTOCOL.md").split("\n```hex ").skip(1);
    let example = |block: &str| {
        let (name, block) = block.split_once('\n').expect("a name");
        let (block, _) = block.split_once("```").expect("an end");
        let bytes = block.lines().flat_map(|line| {
            let (bytes, _) = line.split_once('|').unwrap_or((line, ""));
            bytes.split_whitespace()
        });
        let bytes = bytes.map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal digits"));
        (name.to_owned(), bytes.collect())
    };
    blocks.map(example).collect()
}

fn greeting(greeting: &impl Greeting) -> Vec<u8> {
    let mut body = Vec::new();
    greeting.encode(&mut body);
    body
}

fn frame(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_frame(&mut out, |out| out.extend_from_slice(body));
    out
}

fn numbered(number: u64, ack: u64, message: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    join_frame(&mut body, number, ack, message);
    frame(&body)
}

fn open() -> Vec<u8> {
    let mut party = ProcessInfo::default();
    party.pid = Some(4711);
    greeting(&Open { resume: None, party, lease: None })
}

fn opened(renews: bool) -> Vec<u8> {
    greeting(&Opened {
        how: How::New,
        realm: 7,
        secret: [0x77; 16],
        applied: 0,
        max_frame: 256 * 1024,
        lease: Duration::from_secs(10),
        renews,
    })
}

/// Without a secret.
fn plain() -> Vec<Vec<u8>> {
    let greetings = [
        greeting(&ClientHello { version: VERSIONS.newest, nonce: CLIENT_NONCE }),
        greeting(&ServerHello {
            version: VERSIONS.newest,
            server: SERVER,
            nonce: SERVER_NONCE,
            secret: false,
        }),
        open(),
        opened(false),
    ];
    let thread = OwnerId::from_parts(0, 1, 3).unwrap();
    let mut options = Options::default();
    options.wait = Some(Wait::AtMost(Duration::from_secs(2)));
    let acquire = Call::Acquire(Box::new(Acquire {
        request: 1,
        keys: vec!["invoice:42".into()],
        options,
        owner: Some(thread),
        within: [thread].into_iter().collect(),
        opens_scope: false,
        site: 0,
        waited: Duration::ZERO,
        label: None,
        shared: None,
    }));
    let granted = Event::Granted { request: 1, token: Token::new(8), stolen_from: Vec::new() };
    let end = numbered(2, 1, &Call::End { request: 1 }.bytes());
    let mut frames = greetings.map(|body| frame(&body)).to_vec();
    frames.extend([
        numbered(1, 0, &acquire.bytes()),
        numbered(1, 1, &granted.bytes()),
        [end, numbered(3, 1, &Call::Bye.bytes())].concat(),
        numbered(0, 3, &[]),
    ]);
    frames
}

/// Over TCP, from the proofs on.
fn proved() -> Vec<Vec<u8>> {
    let digits = (0..32).map(|byte| format!("{byte:02x}")).collect::<String>();
    let secret = || Secret::parse(&format!("deploy:{digits}")).unwrap();
    let certificate = Fingerprint(CERTIFICATE);
    let clients = Arc::new(secret().into());
    let secured = Secured { secret: Some(Arc::new(secret())), certificate, ..Secured::default() };
    let mut client = ClientHandshake::new(secured, CLIENT_NONCE);
    let proving = Some(Proving { clients, certificate, client: None });
    let mut server = ServerHandshake::new(proving, SERVER, SERVER_NONCE);
    let hello = server.receive(&client.hello()).unwrap().reply.unwrap();
    let client_proof = client.receive(&hello).unwrap().reply.unwrap();
    let server_proof = server.receive(&client_proof).unwrap().reply.unwrap();
    assert!(client.receive(&server_proof).unwrap().established.is_some());
    [client_proof, server_proof, open(), opened(true)].map(|body| frame(&body)).to_vec()
}

#[test]
fn n2_the_description_gives_the_bytes_that_are_sent() {
    let sent = [plain(), proved()].concat();
    let examples = examples();
    assert_eq!(examples.len(), sent.len());
    for ((name, described), sent) in examples.iter().zip(sent) {
        assert_eq!(described, &sent, "{name}: {sent:02x?}");
    }
}
