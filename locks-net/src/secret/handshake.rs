//! The greetings before `Open`, as each side sees them: hellos, and proofs over TCP.

use std::mem;
use std::sync::Arc;

use super::Secret;
use super::mac::{MacKey, are_equal};
use crate::access::{Access, Clients, Fingerprint};
use crate::wire::{
    ClientHello, ClientProof, Greeting, Malformed, Rejected, ServerHello, ServerProof, VERSIONS,
    Versions, Why, decode_answer,
};

/// What a greeting of the other side leads to.
#[derive(Debug)]
pub(crate) struct HandshakeStep {
    /// Is to be sent.
    pub(crate) reply: Option<Vec<u8>>,
    /// If there, this side expects no more of these greetings.
    pub(crate) established: Option<Established>,
}

/// What both sides have agreed on.
#[derive(Debug)]
pub(crate) struct Established {
    /// The life of the server.
    pub(crate) server: [u8; 16],
    /// At the server: who the client is; `None` over a Unix socket.
    pub(crate) access: Option<Access>,
}

/// What a client knows of its connection (N5). Over a Unix socket nothing, for the kernel has said
/// who is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secured {
    /// To be proved by both sides.
    pub(crate) secret: Option<Arc<Secret>>,
    /// The certificate that the server has shown to have the key of.
    pub(crate) certificate: Fingerprint,
    /// It was known before, or an authority has vouched for it.
    pub(crate) is_verified: bool,
}

/// What a server wants to be proved to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proving {
    pub(crate) clients: Arc<Clients>,
    /// Its own certificate, by this connection.
    pub(crate) certificate: Fingerprint,
    /// The client's, of which it has shown to have the key.
    pub(crate) client: Option<Fingerprint>,
}

/// The client's side.
#[derive(Debug)]
pub(crate) struct ClientHandshake {
    secured: Secured,
    nonce: [u8; 32],
    version: u16,
    stage: HandshakeStage,
}

/// The server's side.
#[derive(Debug)]
pub(crate) struct ServerHandshake {
    versions: Versions,
    proving: Option<Proving>,
    server: [u8; 16],
    nonce: [u8; 32],
    stage: HandshakeStage,
}

/// What is expected of the other side. After an error, and at the end, nothing is.
#[derive(Debug)]
enum HandshakeStage {
    Hello,
    Proof(Transcript),
    Over,
}

/// What proofs are bound to.
#[derive(Debug)]
struct Transcript {
    server: [u8; 16],
    /// Both, as they were said.
    hellos: [Vec<u8>; 2],
    /// The server's, as this side sees it.
    certificate: Fingerprint,
}

/// Whose proof it is.
const CLIENT: &[u8; 16] = b"locks net client";
const SERVER: &[u8; 16] = b"locks net server";

impl Transcript {
    fn proof(&self, secret: &Secret, name: &str, role: &[u8; 16]) -> [u8; 32] {
        let [client, server] = &self.hellos;
        let len = u16::try_from(name.len()).expect("names are short").to_le_bytes();
        MacKey::new(secret.bytes()).code(&[
            role,
            client,
            server,
            &len,
            name.as_bytes(),
            &self.certificate.0,
        ])
    }
}

impl ClientHandshake {
    /// `nonce` comes from [`random`](super::random), and is another one for each connection.
    pub(crate) fn new(secured: Secured, nonce: [u8; 32]) -> Self {
        Self { secured, nonce, version: VERSIONS.newest, stage: HandshakeStage::Hello }
    }

    /// Has it speak this version, and no other.
    pub(crate) fn speaking(self, version: u16) -> Self {
        Self { version, ..self }
    }

    /// The first of all frames.
    pub(crate) fn hello(&self) -> Vec<u8> {
        encode(&ClientHello { version: self.version, nonce: self.nonce })
    }

    /// Whether it has proved what it knows, and nothing was said to that.
    pub(crate) fn is_proving(&self) -> bool {
        matches!(self.stage, HandshakeStage::Proof(_))
    }

    /// The server has said this.
    ///
    /// # Errors
    /// If the server has rejected the client, or is to be rejected: nothing it says is to be
    /// trusted, and the connection is to be closed without an answer.
    pub(crate) fn receive(&mut self, body: &[u8]) -> Result<HandshakeStep, Rejected> {
        match mem::replace(&mut self.stage, HandshakeStage::Over) {
            HandshakeStage::Hello => self.hear(body, decode_answer(body).map_err(nonsense)??),
            HandshakeStage::Proof(transcript) => {
                self.check(&transcript, &decode_answer(body).map_err(nonsense)??)
            }
            HandshakeStage::Over => Err(over()),
        }
    }

    fn hear(&mut self, body: &[u8], hello: ServerHello) -> Result<HandshakeStep, Rejected> {
        if hello.version != self.version {
            let text = format!(
                "the server was asked for version {} of the protocol, and speaks {}",
                self.version, hello.version
            );
            return Err(Rejected { why: Why::Version(Versions::one(hello.version)), text });
        }
        let Secured { secret, certificate, is_verified } = &self.secured;
        match (secret, hello.secret) {
            (Some(secret), true) => {
                let hellos = [self.hello(), body.to_vec()];
                let transcript =
                    Transcript { server: hello.server, hellos, certificate: *certificate };
                let proof = transcript.proof(secret, secret.name(), CLIENT);
                self.stage = HandshakeStage::Proof(transcript);
                let proof = ClientProof { name: secret.name().to_owned(), proof };
                Ok(HandshakeStep { reply: Some(encode(&proof)), established: None })
            }
            (None, true) => Err(unauthorized(
                "the server wants to be proved that a secret is known, and this client was given none: name its \
                 file by `secret_file`",
            )),
            (Some(_), false) if !is_verified => Err(unauthorized(
                "this client was given a secret, and the server has none: it may be another one",
            )),
            (_, false) => established(None, hello.server, None),
        }
    }

    fn check(
        &self,
        transcript: &Transcript,
        proof: &ServerProof,
    ) -> Result<HandshakeStep, Rejected> {
        let secret = self.secured.secret.as_deref().expect("proofs are due");
        if !are_equal(&proof.0, &transcript.proof(secret, secret.name(), SERVER)) {
            return Err(unauthorized("the server does not know the secret"));
        }
        established(None, transcript.server, None)
    }
}

impl ServerHandshake {
    /// `nonce` comes from [`random`](super::random), and is another one for each connection;
    /// `server` is the server's life.
    pub(crate) fn new(proving: Option<Proving>, server: [u8; 16], nonce: [u8; 32]) -> Self {
        Self { versions: VERSIONS, proving, server, nonce, stage: HandshakeStage::Hello }
    }

    /// Has it speak these versions.
    #[cfg(test)]
    pub(crate) fn speaking(self, versions: Versions) -> Self {
        Self { versions, ..self }
    }

    /// What is to be proved is known from now on; before, nobody can prove it.
    pub(crate) fn prove(&mut self, proving: Proving) {
        self.proving = Some(proving);
    }

    /// The client has said this.
    ///
    /// # Errors
    /// The client is to be told, and the connection to be closed then.
    pub(crate) fn receive(&mut self, body: &[u8]) -> Result<HandshakeStep, Rejected> {
        match mem::replace(&mut self.stage, HandshakeStage::Over) {
            HandshakeStage::Hello => self.hear(body, &ClientHello::decode(body).map_err(nonsense)?),
            HandshakeStage::Proof(transcript) => self.check(&transcript, body),
            HandshakeStage::Over => Err(over()),
        }
    }

    fn hear(&mut self, body: &[u8], hello: &ClientHello) -> Result<HandshakeStep, Rejected> {
        if !self.versions.contain(hello.version) {
            return Err(other_version(hello.version, self.versions));
        }
        let Self { server, nonce, .. } = *self;
        let proving = self.proving.as_ref();
        let known = proving.and_then(|it| it.clients.by_certificate(it.client?));
        let secret = proving.is_some() && known.is_none();
        let reply = encode(&ServerHello { version: hello.version, server, nonce, secret });
        let Some(proving) = proving.filter(|_| secret) else {
            return established(Some(reply), server, known);
        };
        let hellos = [body.to_vec(), reply.clone()];
        self.stage =
            HandshakeStage::Proof(Transcript { server, hellos, certificate: proving.certificate });
        Ok(HandshakeStep { reply: Some(reply), established: None })
    }

    fn check(&self, transcript: &Transcript, body: &[u8]) -> Result<HandshakeStep, Rejected> {
        let proving = self.proving.as_ref().expect("proofs are due");
        let known = ClientProof::decode(body).ok().and_then(|ClientProof { name, proof }| {
            let does = |it: &Secret| are_equal(&proof, &transcript.proof(it, &name, CLIENT));
            proving.clients.by_secret(&name, does)
        });
        let Some((access, secret)) = known else {
            return Err(unauthorized(
                "the client's secret is not the server's: `secret_file` or `LOCKS_SECRET` has to give the \
                 one that `locks serve` has. Or somebody stands between the two, whom neither trusts",
            ));
        };
        let proof = ServerProof(transcript.proof(&secret, &access.name, SERVER));
        established(Some(encode(&proof)), transcript.server, Some(access))
    }
}

fn established(
    reply: Option<Vec<u8>>,
    server: [u8; 16],
    access: Option<Access>,
) -> Result<HandshakeStep, Rejected> {
    Ok(HandshakeStep { reply, established: Some(Established { server, access }) })
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

/// To a client that knows no more than these words.
fn other_version(version: u16, ours: Versions) -> Rejected {
    let (is, older) = match version < ours.oldest {
        true => ("older", "the client"),
        false => ("newer", "the server"),
    };
    let text = format!(
        "the client speaks version {version} of the protocol, which is {is} than what the lock server speaks \
         ({ours}): update {older}"
    );
    Rejected { why: Why::Version(ours), text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Client;

    const SERVER_LIFE: [u8; 16] = [5; 16];
    const CERTIFICATE: Fingerprint = Fingerprint([7; 32]);

    fn secret(pair: &str) -> Secret {
        Secret::parse(&pair.repeat(32)).unwrap()
    }

    fn client(pair: &str) -> ClientHandshake {
        let secret = Some(Arc::new(secret(pair)));
        client_of(Secured { secret, certificate: CERTIFICATE, is_verified: false })
    }

    fn client_of(secured: Secured) -> ClientHandshake {
        ClientHandshake::new(secured, [1; 32])
    }

    fn proving(clients: impl Into<Clients>) -> Proving {
        Proving { clients: Arc::new(clients.into()), certificate: CERTIFICATE, client: None }
    }

    fn server(pair: &str) -> ServerHandshake {
        server_of(Some(proving(secret(pair))))
    }

    fn server_of(proving: Option<Proving>) -> ServerHandshake {
        ServerHandshake::new(proving, SERVER_LIFE, [2; 32])
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

    /// The server's hello, and the client's proof after it.
    fn proved(client: &mut ClientHandshake, server: &mut ServerHandshake) -> Vec<u8> {
        let hello = server.receive(&client.hello()).unwrap().reply.unwrap();
        client.receive(&hello).unwrap().reply.unwrap()
    }

    #[test]
    fn n5_over_a_unix_socket_hellos_are_enough() {
        let [at_client, at_server] = shake(client_of(Secured::default()), server_of(None)).unwrap();
        assert_eq!((at_client.server, at_server.server), (SERVER_LIFE, SERVER_LIFE));
        assert_eq!(at_server.access, None);
    }

    #[test]
    fn n5_who_shares_a_secret_is_let_in_by_its_name() {
        let [at_client, at_server] = shake(client("a7"), server("a7")).unwrap();
        assert_eq!((at_client.server, at_server.server), (SERVER_LIFE, SERVER_LIFE));
        let access = at_server.access.unwrap();
        assert_eq!((&*access.name, access.steal, access.admin), ("", true, true));

        let named = || secret("a8").named("b").unwrap();
        let mine = Client::new().secret(secret("a7")).secret(secret("a8")).namespace("b/");
        let list = Clients::from(secret("a7")).client("b", mine).unwrap();
        let one = Secured { secret: Some(Arc::new(named())), ..client("a7").secured };
        let [_, at_server] = shake(client_of(one.clone()), server_of(Some(proving(list)))).unwrap();
        let access = at_server.access.unwrap();
        assert_eq!((&*access.name, &*access.namespace, access.admin), ("b", "b/", false));
        let refused = shake(client_of(one), server("a8")).unwrap_err();
        assert_eq!(refused.why, Why::Unauthorized, "the right secret by the wrong name");
    }

    #[test]
    fn n5_a_certificate_replaces_the_secret_only_where_the_server_is_known() {
        let mine = Fingerprint([8; 32]);
        let list = Clients::new().client("a", Client::new().certificate(mine)).unwrap();
        let proving = Proving { client: Some(mine), ..proving(list) };
        let secured =
            |secret, is_verified| Secured { secret, certificate: CERTIFICATE, is_verified };
        let [_, at_server] =
            shake(client_of(secured(None, true)), server_of(Some(proving.clone()))).unwrap();
        assert_eq!(at_server.access.unwrap().name, "a");
        let refused = shake(client("a7"), server_of(Some(proving.clone()))).unwrap_err();
        assert!(refused.text.contains("it may be another one"), "{}", refused.text);
        let unknown = Proving { client: Some(CERTIFICATE), ..proving };
        let refused = shake(client_of(secured(None, true)), server_of(Some(unknown))).unwrap_err();
        assert!(refused.text.contains("`secret_file`"), "{}", refused.text);
    }

    #[test]
    fn n5_who_lacks_the_secret_or_has_another_is_refused() {
        let none = || client_of(Secured { secret: None, ..client("a7").secured });
        for (client, server) in [
            (none(), server("a7")),
            (client("a7"), server_of(None)),
            (client("a7"), server("a8")),
            (client("a7"), server_of(Some(proving(Clients::new())))),
        ] {
            let refused = shake(client, server).unwrap_err();
            assert_eq!(refused.why, Why::Unauthorized, "{}", refused.text);
        }
    }

    #[test]
    fn n5_a_man_in_the_middle_is_found_out_by_his_certificate() {
        // He passes on what both say, who see certificates of their own.
        let his = Secured { certificate: Fingerprint([9; 32]), ..client("a7").secured };
        let refused = shake(client_of(his), server("a7")).unwrap_err();
        assert_eq!(refused.why, Why::Unauthorized);
        assert!(refused.text.contains("somebody stands between"), "{}", refused.text);
    }

    #[test]
    fn n5_a_server_that_lacks_the_secret_is_found_out() {
        let (mut client, mut honest) = (client("a7"), server("a7"));
        let proof = proved(&mut client, &mut server("a8"));
        honest.receive(&client.hello()).unwrap();
        assert!(honest.receive(&proof).is_ok(), "the proof itself is right");
        let ClientProof { proof, .. } = ClientProof::decode(&proof).unwrap();
        let back = encode(&ServerProof(proof));
        assert_eq!(client.receive(&back).unwrap_err().why, Why::Unauthorized, "sent back");
    }

    #[test]
    fn n5_a_proof_is_good_for_one_connection() {
        let mut client = client("a7");
        let proof = proved(&mut client, &mut server("a7"));
        for (server, nonce) in [(SERVER_LIFE, [3; 32]), ([6; 16], [2; 32])] {
            let mut second = ServerHandshake::new(Some(proving(secret("a7"))), server, nonce);
            second.receive(&client.hello()).unwrap();
            assert_eq!(second.receive(&proof).unwrap_err().why, Why::Unauthorized);
        }
    }

    #[test]
    fn n5_nothing_else_passes_for_a_proof() {
        let zeros = encode(&ClientProof { name: String::new(), proof: [0; 32] });
        for body in [vec![], vec![ClientProof::KIND], zeros, client("a7").hello()] {
            let mut server = server("a7");
            server.receive(&client("a7").hello()).unwrap();
            assert_eq!(server.receive(&body).unwrap_err().why, Why::Unauthorized, "{body:?}");
            assert!(server.receive(&body).is_err(), "nor a second time");
        }
    }

    #[test]
    fn n11_the_hello_picks_a_version_and_others_are_told_which_there_are() {
        let versions = Versions { oldest: 2, newest: 4 };
        let at = |version| {
            let server = server_of(None).speaking(versions);
            shake(client_of(Secured::default()).speaking(version), server)
        };
        for version in 2..=4 {
            at(version).unwrap();
        }
        let older = at(1).unwrap_err();
        assert_eq!(older.why, Why::Version(versions));
        assert!(older.text.ends_with("(versions 2 to 4): update the client"), "{}", older.text);
        let newer = at(5).unwrap_err();
        assert_eq!(newer.why, Why::Version(versions));
        assert!(newer.text.ends_with("update the server"), "{}", newer.text);
        assert_eq!(
            client("a7").receive(&encode(&newer)).unwrap_err(),
            newer,
            "the client hears the same"
        );
    }

    #[test]
    fn n11_a_server_that_speaks_another_version_than_it_was_asked_for_is_refused() {
        let (server, nonce) = (SERVER_LIFE, [2; 32]);
        let version = VERSIONS.newest + 1;
        let hello = ServerHello { version, server, nonce, secret: false };
        let refused = client("a7").receive(&encode(&hello)).unwrap_err();
        assert_eq!(refused.why, Why::Version(Versions::one(version)));
    }
}
