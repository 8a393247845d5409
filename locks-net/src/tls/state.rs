use std::fmt;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus,
};
use rustls::{ClientConfig, CommonState, Error, ServerConfig};

use crate::access::Fingerprint;

/// One side of a TLS connection: bytes in, bytes out.
pub(crate) struct Tls {
    side: Side,
    /// Of a record that has not arrived as a whole.
    incoming: Vec<u8>,
    is_over: bool,
    failed: Option<Error>,
}

enum Side {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// What is to be said in a step, once it can be.
#[derive(Clone, Copy)]
enum Say<'a> {
    Nothing,
    This(&'a [u8]),
    Farewell,
}

/// What a step came to.
enum TlsStep {
    More,
    /// It takes more to come in; or there is room for what is to be sent.
    Still,
    /// The other side has said its last word.
    Over,
    Sent,
}

/// A record's header, its kind within and its tag; and more than that.
const AROUND_RECORD: usize = 64;

/// The most that a record carries.
const RECORD: usize = 16 * 1024;

impl Tls {
    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, Error> {
        UnbufferedClientConnection::new(config, name).map(|side| Self::new(Side::Client(side)))
    }

    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        UnbufferedServerConnection::new(config).map(|side| Self::new(Side::Server(side)))
    }

    fn new(side: Side) -> Self {
        Self { side, incoming: Vec::new(), is_over: false, failed: None }
    }

    /// Takes in what has come, which may be nothing. Appends to `plain` what was said to this side,
    /// and to `out` what is to be sent for the connection's own sake: after an error too.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        self.incoming.extend_from_slice(bytes);
        loop {
            match self.step(plain, out, Say::Nothing) {
                Ok(TlsStep::More) => {}
                Ok(TlsStep::Over) => self.is_over = true,
                Ok(TlsStep::Still | TlsStep::Sent) => break,
                Err(error) => {
                    self.failed = Some(error);
                    // Once more, for the alert that says why: it comes before anything else is
                    // looked at.
                    let _ = self.step(plain, out, Say::Nothing);
                    break;
                }
            }
        }
        self.incoming.shrink_to(4096);
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Appends to `out` what carries `plain` to the other side, once the connection is
    /// [there](Self::is_there).
    pub(crate) fn send(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        loop {
            match self.step(&mut Vec::new(), out, Say::This(plain))? {
                TlsStep::More => {}
                TlsStep::Over => self.is_over = true,
                TlsStep::Still => return Err(Error::HandshakeNotComplete),
                TlsStep::Sent => return Ok(()),
            }
        }
    }

    /// Appends to `out` that nothing more will be said.
    pub(crate) fn close(&mut self, out: &mut Vec<u8>) {
        // Without it the connection ends as well.
        while self.failed.is_none()
            && let Ok(TlsStep::More) = self.step(&mut Vec::new(), out, Say::Farewell)
        {}
    }

    /// Whether both sides have shown what they were to show, and may speak.
    pub(crate) fn is_there(&self) -> bool {
        !self.common().is_handshaking()
    }

    /// Whether the other side has said that nothing more will come.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The certificate that the other side has shown to have the key of.
    pub(crate) fn peer(&self) -> Option<Fingerprint> {
        let chain = self.common().peer_certificates()?;
        chain.first().map(|leaf| Fingerprint::of(leaf))
    }

    fn common(&self) -> &CommonState {
        match &self.side {
            Side::Client(side) => side,
            Side::Server(side) => side,
        }
    }

    fn step(
        &mut self,
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
        say: Say<'_>,
    ) -> Result<TlsStep, Error> {
        let (used, step) = match &mut self.side {
            Side::Client(side) => {
                step(side.process_tls_records(&mut self.incoming), plain, out, say)
            }
            Side::Server(side) => {
                step(side.process_tls_records(&mut self.incoming), plain, out, say)
            }
        };
        if used == self.incoming.len() {
            self.incoming.clear();
        } else {
            self.incoming.drain(..used);
        }
        step
    }
}

fn step<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plain: &mut Vec<u8>,
    out: &mut Vec<u8>,
    say: Say<'_>,
) -> (usize, Result<TlsStep, Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let step = state.and_then(|state| match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                discard += record.discard;
                plain.extend_from_slice(record.payload);
            }
            Ok(TlsStep::More)
        }
        ConnectionState::EncodeTlsData(data) => encode(data, out).map(|()| TlsStep::More),
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(TlsStep::More)
        }
        ConnectionState::PeerClosed => Ok(TlsStep::Over),
        ConnectionState::WriteTraffic(mut traffic) => {
            let start = out.len();
            let written = match say {
                Say::Nothing => return Ok(TlsStep::Still),
                Say::Farewell => {
                    out.resize(start + AROUND_RECORD, 0);
                    traffic.queue_close_notify(&mut out[start..])
                }
                Say::This(say) => {
                    out.resize(start + say.len() + AROUND_RECORD * (say.len() / RECORD + 1), 0);
                    traffic.encrypt(say, &mut out[start..])
                }
            };
            let written = written.map_err(|error| match error {
                EncryptError::EncryptExhausted => Error::EncryptError,
                EncryptError::InsufficientSize(_) => Error::General(error.to_string()),
            });
            out.truncate(start + written.as_ref().map_or(0, |written| *written));
            written.map(|_| TlsStep::Sent)
        }
        ConnectionState::BlockedHandshake | ConnectionState::Closed => Ok(TlsStep::Still),
        other => Err(Error::General(format!("unexpected: {other:?}"))),
    });
    (discard, step)
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, out: &mut Vec<u8>) -> Result<(), Error> {
    let failed = |error: EncodeError| Error::General(error.to_string());
    let start = out.len();
    let size = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        other => return other.map(drop).map_err(failed),
    };
    out.resize(start + size, 0);
    data.encode(&mut out[start..]).map(drop).map_err(failed)
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("is_there", &self.is_there()).finish_non_exhaustive()
    }
}
