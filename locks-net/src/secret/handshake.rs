//! The greetings before `Open`, as each side sees them: hellos, and proofs where there is a secret.

use std::mem;
use std::sync::Arc;

use super::mac::are_equal;
use super::transcript::Transcript;
use super::{Opener, Sealer, Secret};
use crate::wire::{
    ClientHello, Greeting, Malformed, Proof, Rejected, ServerHello, VERSION, Why, decode_answer,
};

/// What a greeting of the other side leads to.
#[derive(Debug)]
pub(crate) struct Step {
    /// Is to be sent, without a tag.
    pub(crate) reply: Option<Vec<u8>>,
    /// If there, this side expects no more of these greetings. Frames behind `reply`, and those that
    /// arrive from now on, are sealed by its keys.
    pub(crate) established: Option<Established>,
}

/// What both sides have agreed on.
#[derive(Debug)]
pub(crate) struct Established {
    /// The life of the server.
    pub(crate) server: [u8; 16],
    /// `None` without a secret.
    pub(crate) keys: Option<Keys>,
}

/// One side's keys of a connection.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
}

/// The client's side.
#[derive(Debug)]
pub(crate) struct ClientHandshake {
    secret: Option<Arc<Secret>>,
    nonce: [u8; 32],
    stage: Stage,
}

/// The server's side.
#[derive(Debug)]
pub(crate) struct ServerHandshake {
    secret: Option<Arc<Secret>>,
    server: [u8; 16],
    nonce: [u8; 32],
    stage: Stage,
}

/// What is expected of the other side. After an error, and at the end, nothing is.
#[derive(Debug)]
enum Stage {
    Hello,
    Proof(Transcript),
    Over,
}

impl ClientHandshake {
    /// `nonce` comes from [`random`](super::random), and is another one for each connection.
    pub(crate) fn new(secret: Option<Arc<Secret>>, nonce: [u8; 32]) -> Self {
        Self { secret, nonce, stage: Stage::Hello }
    }

    /// The first of all frames.
    pub(crate) fn hello(&self) -> Vec<u8> {
        encode(&ClientHello { version: VERSION, nonce: self.nonce })
    }

    /// The server has said this.
    ///
    /// # Errors
    /// If the server has rejected the client, or is to be rejected: nothing it says is to be trusted,
    /// and the connection is to be closed without an answer.
    pub(crate) fn receive(&mut self, body: &[u8]) -> Result<Step, Rejected> {
        match mem::replace(&mut self.stage, Stage::Over) {
            Stage::Hello => self.hear(decode_answer(body).map_err(nonsense)??),
            Stage::Proof(transcript) => {
                self.check(&transcript, decode_answer(body).map_err(nonsense)??)
            }
            Stage::Over => Err(over()),
        }
    }

    fn hear(&mut self, hello: ServerHello) -> Result<Step, Rejected> {
        if hello.version != VERSION {
            return Err(other_version("the server", hello.version));
        }
        let server = hello.server;
        match (&self.secret, hello.secret) {
            (None, false) => {
                Ok(Step { reply: None, established: Some(Established { server, keys: None }) })
            }
            (Some(secret), true) => {
                let (client_nonce, server_nonce) = (self.nonce, hello.nonce);
                let transcript = Transcript { server, client_nonce, server_nonce };
                let proof = transcript.client_proof(secret);
                self.stage = Stage::Proof(transcript);
                Ok(Step { reply: Some(encode(&Proof(proof))), established: None })
            }
            (None, true) => Err(unauthorized(
                "the server wants to be proved that its secret is known, and this client was given none",
            )),
            (Some(_), false) => Err(unauthorized(
                "this client was given a secret, and the server has none: it may be another one",
            )),
        }
    }

    fn check(&self, transcript: &Transcript, proof: Proof) -> Result<Step, Rejected> {
        let secret = self.secret.as_deref().expect("proofs are due");
        if !are_equal(&proof.0, &transcript.server_proof(secret)) {
            return Err(unauthorized("the server does not know the secret"));
        }
        let [upward, downward] = transcript.keys(secret);
        let keys = Keys { sealer: Sealer::new(upward), opener: Opener::new(downward) };
        let server = transcript.server;
        Ok(Step { reply: None, established: Some(Established { server, keys: Some(keys) }) })
    }
}

impl ServerHandshake {
    /// `nonce` comes from [`random`](super::random), and is another one for each connection; `server`
    /// is the server's life.
    pub(crate) fn new(secret: Option<Arc<Secret>>, server: [u8; 16], nonce: [u8; 32]) -> Self {
        Self { secret, server, nonce, stage: Stage::Hello }
    }

    /// The client has said this.
    ///
    /// # Errors
    /// The client is to be told, and the connection to be closed then.
    pub(crate) fn receive(&mut self, body: &[u8]) -> Result<Step, Rejected> {
        match mem::replace(&mut self.stage, Stage::Over) {
            Stage::Hello => self.hear(&ClientHello::decode(body).map_err(nonsense)?),
            Stage::Proof(transcript) => self.check(&transcript, body),
            Stage::Over => Err(over()),
        }
    }

    fn hear(&mut self, hello: &ClientHello) -> Result<Step, Rejected> {
        if hello.version != VERSION {
            return Err(other_version("the client", hello.version));
        }
        let Self { server, nonce, .. } = *self;
        let secret = self.secret.is_some();
        let reply = encode(&ServerHello { version: VERSION, server, nonce, secret });
        let established = if secret {
            let (client_nonce, server_nonce) = (hello.nonce, nonce);
            self.stage = Stage::Proof(Transcript { server, client_nonce, server_nonce });
            None
        } else {
            Some(Established { server, keys: None })
        };
        Ok(Step { reply: Some(reply), established })
    }

    fn check(&self, transcript: &Transcript, body: &[u8]) -> Result<Step, Rejected> {
        let secret = self.secret.as_deref().expect("proofs are due");
        let is_proved = Proof::decode(body)
            .is_ok_and(|proof| are_equal(&proof.0, &transcript.client_proof(secret)));
        if !is_proved {
            return Err(unauthorized(
                "the client's secret is not the server's: `secret_file` or `LOCKS_SECRET` has to give the \
                 one that `locks serve` has",
            ));
        }
        let [upward, downward] = transcript.keys(secret);
        let keys = Keys { sealer: Sealer::new(downward), opener: Opener::new(upward) };
        let server = transcript.server;
        let reply = Some(encode(&Proof(transcript.server_proof(secret))));
        Ok(Step { reply, established: Some(Established { server, keys: Some(keys) }) })
    }
}

fn encode(greeting: &impl Greeting) -> Vec<u8> {
    let mut body = Vec::new();
    greeting.encode(&mut body);
    body
}

fn nonsense(malformed: Malformed) -> Rejected {
    Rejected { why: Why::Protocol, text: malformed.to_string() }
}

fn over() -> Rejected {
    nonsense(Malformed("the greetings are over"))
}

fn unauthorized(text: &str) -> Rejected {
    Rejected { why: Why::Unauthorized, text: text.into() }
}

fn other_version(who: &str, version: u16) -> Rejected {
    let text = format!("{who} speaks version {version} of the protocol, and this side {VERSION}");
    Rejected { why: Why::Version, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER_LIFE: [u8; 16] = [5; 16];

    fn secret(byte: &str) -> Option<Arc<Secret>> {
        Some(Arc::new(Secret::parse(&byte.repeat(32)).unwrap()))
    }

    fn client(secret: Option<Arc<Secret>>) -> ClientHandshake {
        ClientHandshake::new(secret, [1; 32])
    }

    fn server(secret: Option<Arc<Secret>>) -> ServerHandshake {
        ServerHandshake::new(secret, SERVER_LIFE, [2; 32])
    }

    /// Goes on until one side refuses, or both are done.
    fn shake(
        mut client: ClientHandshake,
        mut server: ServerHandshake,
    ) -> Result<[Established; 2], Rejected> {
        let mut to_server = client.hello();
        let mut at_server = None;
        loop {
            let step = server.receive(&to_server)?;
            at_server = at_server.or(step.established);
            let step = client.receive(&step.reply.unwrap())?;
            match (step.reply, step.established) {
                (Some(reply), None) => to_server = reply,
                (None, Some(at_client)) => return Ok([at_client, at_server.unwrap()]),
                other => panic!("{other:?}"),
            }
        }
    }

    fn open(from: &mut Established, to: &mut Established, body: &[u8]) -> bool {
        let tag = from.keys.as_mut().unwrap().sealer.tag(body);
        let frame = [body, &tag].concat();
        to.keys.as_mut().unwrap().opener.open(&frame).is_ok()
    }

    #[test]
    fn n5_without_a_secret_hellos_are_enough() {
        let sides = shake(client(None), server(None)).unwrap();
        for side in sides {
            assert_eq!(side.server, SERVER_LIFE);
            assert!(side.keys.is_none());
        }
    }

    #[test]
    fn n5_who_shares_a_secret_shares_keys() {
        let [mut client, mut server] = shake(client(secret("a7")), server(secret("a7"))).unwrap();
        for _ in 0..3 {
            assert!(open(&mut client, &mut server, b"up"));
            assert!(open(&mut server, &mut client, b"down"));
        }
        assert_eq!((client.server, server.server), (SERVER_LIFE, SERVER_LIFE));
    }

    #[test]
    fn n5_a_frame_does_not_go_back_to_its_sender() {
        let [mut client, _] = shake(client(secret("a7")), server(secret("a7"))).unwrap();
        let tag = client.keys.as_mut().unwrap().sealer.tag(b"up");
        let frame = [&b"up"[..], &tag].concat();
        assert!(client.keys.unwrap().opener.open(&frame).is_err());
    }

    #[test]
    fn n5_keys_are_those_of_one_connection() {
        let [mut client_side, _] = shake(client(secret("a7")), server(secret("a7"))).unwrap();
        let again = ServerHandshake::new(secret("a7"), SERVER_LIFE, [3; 32]);
        let [_, mut server_side] = shake(client(secret("a7")), again).unwrap();
        assert!(!open(&mut client_side, &mut server_side, b"up"));
    }

    #[test]
    fn n5_who_lacks_the_secret_or_has_another_is_refused() {
        for (client_secret, server_secret) in
            [(None, secret("a7")), (secret("a7"), None), (secret("a7"), secret("a8"))]
        {
            let refused = shake(client(client_secret), server(server_secret)).unwrap_err();
            assert_eq!(refused.why, Why::Unauthorized, "{}", refused.text);
        }
    }

    #[test]
    fn n5_a_server_that_lacks_the_secret_is_found_out() {
        let (mut client, mut honest) = (client(secret("a7")), server(secret("a7")));
        let mut false_one = ServerHandshake::new(secret("a8"), SERVER_LIFE, [2; 32]);
        let hello = false_one.receive(&client.hello()).unwrap().reply.unwrap();
        let proof = client.receive(&hello).unwrap().reply.unwrap();
        honest.receive(&client.hello()).unwrap();
        assert!(honest.receive(&proof).is_ok(), "the proof itself is right");
        assert_eq!(client.receive(&proof).unwrap_err().why, Why::Unauthorized, "sent back");
    }

    #[test]
    fn n5_a_proof_is_good_for_one_connection() {
        let (mut client, mut first) = (client(secret("a7")), server(secret("a7")));
        let hello = first.receive(&client.hello()).unwrap().reply.unwrap();
        let proof = client.receive(&hello).unwrap().reply.unwrap();
        for (server, nonce) in [(SERVER_LIFE, [3; 32]), ([6; 16], [2; 32])] {
            let mut second = ServerHandshake::new(secret("a7"), server, nonce);
            second.receive(&client.hello()).unwrap();
            assert_eq!(second.receive(&proof).unwrap_err().why, Why::Unauthorized);
        }
    }

    #[test]
    fn n5_nothing_else_passes_for_a_proof() {
        let right = server(secret("a7"));
        for body in [vec![], vec![Proof::KIND], encode(&Proof([0; 32])), client(None).hello()] {
            let mut server = ServerHandshake::new(right.secret.clone(), SERVER_LIFE, [2; 32]);
            server.receive(&client(None).hello()).unwrap();
            assert_eq!(server.receive(&body).unwrap_err().why, Why::Unauthorized, "{body:?}");
            assert!(server.receive(&body).is_err(), "nor a second time");
        }
    }

    #[test]
    fn n2_another_version_is_refused_by_either_side() {
        let hello = encode(&ClientHello { version: VERSION + 1, nonce: [1; 32] });
        let refused = server(None).receive(&hello).unwrap_err();
        assert_eq!(refused.why, Why::Version);
        let text = "the client speaks version 2 of the protocol, and this side 1";
        assert_eq!(refused.text, text);
        let (server, nonce) = (SERVER_LIFE, [2; 32]);
        let hello = ServerHello { version: VERSION + 1, server, nonce, secret: false };
        assert_eq!(client(None).receive(&encode(&hello)).unwrap_err().why, Why::Version);
        let said = client(None).receive(&encode(&refused)).unwrap_err();
        assert_eq!(said, refused, "the other side's refusal is passed on");
    }
}
