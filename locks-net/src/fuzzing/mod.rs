//! Doors for fuzzers, which are in `fuzz`: to what reads bytes that anybody may have sent.

mod arbiter;

use std::sync::Arc;

pub use self::arbiter::arbiter;
use crate::secret::{ClientHandshake, Proving, Secret, Secured, ServerHandshake};
use crate::wire::{
    Call, ClientHello, ClientProof, Event, FrameReader, Greeting, Malformed, Open, Opened,
    Rejected, ServerHello, ServerProof, join_frame, split_frame,
};

/// The longest frame that is taken.
const MAX_FRAME: usize = 4096;

/// Frames, as they come in: in pieces, whose lengths are what the first bytes say.
///
/// # Panics
/// If a frame depends on the pieces, or is not one that is sent.
pub fn frames(bytes: &[u8]) {
    let Some((sizes, bytes)) = bytes.split_first_chunk::<4>() else { return };
    let mut sizes = sizes.iter().map(|&size| usize::from(size) + 1).cycle();
    let whole = read(&mut std::iter::once(bytes));
    let mut rest = bytes;
    let mut pieces = std::iter::from_fn(|| {
        let (piece, behind) = rest.split_at(sizes.next()?.min(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    });
    assert_eq!(read(&mut pieces), whole, "in pieces, and at once");
    for body in &whole.0 {
        message(body);
    }
}

fn read<'a>(pieces: &mut dyn Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<Malformed>) {
    let (mut reader, mut bodies) = (FrameReader::new(MAX_FRAME), Vec::new());
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next() {
                Ok(Some(body)) => bodies.push(body.to_vec()),
                Ok(None) => break,
                Err(malformed) => return (bodies, Some(malformed)),
            }
        }
    }
    (bodies, None)
}

/// The body of a frame, read as everything that it can be.
///
/// # Panics
/// If something can be read that is not sent so.
pub fn message(body: &[u8]) {
    call(body);
    event(body);
    greeting::<ClientHello>(body);
    greeting::<ServerHello>(body);
    greeting::<ClientProof>(body);
    greeting::<ServerProof>(body);
    greeting::<Open>(body);
    greeting::<Opened>(body);
    greeting::<Rejected>(body);
    if let Ok((number, ack, message)) = split_frame(body) {
        is_sent_so(body, |out| join_frame(out, number, ack, message));
        call(message);
        event(message);
    }
}

fn call(body: &[u8]) {
    if let Ok(call) = Call::decode(body) {
        is_sent_so(body, |out| call.encode(out));
    }
}

fn event(body: &[u8]) {
    if let Ok(event) = Event::decode(body) {
        is_sent_so(body, |out| event.encode(out));
        if let Event::Refused { error, .. } = event {
            // Words for people are made of whatever it says.
            let _ = format!("{error} {error:?}");
        }
    }
}

fn greeting<T: Greeting>(body: &[u8]) {
    if let Ok(greeting) = T::decode(body) {
        is_sent_so(body, |out| greeting.encode(out));
    }
}

fn is_sent_so(body: &[u8], encode: impl FnOnce(&mut Vec<u8>)) {
    let mut sent = Vec::new();
    encode(&mut sent);
    assert_eq!(sent, body);
}

/// Either side of the greetings against somebody who does not know the secret. Each has two tries;
/// the first byte says how long the first is.
///
/// # Panics
/// If that convinces it.
pub fn handshake(bytes: &[u8]) {
    let Some((&len, bytes)) = bytes.split_first() else { return };
    let tries = bytes.split_at(usize::from(len).min(bytes.len()));
    let secret = Secret::parse(&"a7".repeat(32)).expect("64 digits");
    let again = Secret::parse(&secret.to_text()).expect("it was one");
    let secured = Secured { secret: Some(Arc::new(secret)), ..Secured::default() };
    let proving = Proving { clients: Arc::new(again.into()), ..Proving::default() };
    let mut client = ClientHandshake::new(secured, [1; 32]);
    let mut server = ServerHandshake::new(Some(proving), [2; 16], [3; 32]);
    for body in [tries.0, tries.1] {
        let step = client.receive(body);
        assert!(step.is_err() || step.is_ok_and(|step| step.established.is_none()), "client");
        let step = server.receive(body);
        assert!(step.is_err() || step.is_ok_and(|step| step.established.is_none()), "server");
    }
}
