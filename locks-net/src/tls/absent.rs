//! In place of TLS where TCP is left out: there is no connection that has any.

use locks_core::ErrorKind;

use crate::access::Fingerprint;
use crate::secret::Secured;

#[derive(Debug)]
pub(crate) enum Tls {}

#[derive(Debug)]
pub(crate) enum ClientTls {}

#[derive(Debug)]
pub(crate) enum ServerTls {}

#[derive(Debug)]
pub(crate) enum Error {}

pub(crate) const FIRST_BYTE: u8 = 0x16;

#[derive(Clone, Debug)]
pub(crate) struct TlsFault {
    pub(crate) kind: ErrorKind,
    pub(crate) text: String,
}

impl ClientTls {
    pub(crate) fn begin(&self) -> Result<Tls, Error> {
        match *self {}
    }

    pub(crate) fn secured(&self, _: &Tls) -> Secured {
        match *self {}
    }
}

impl ServerTls {
    pub(crate) fn begin(&self) -> Result<Tls, Error> {
        match *self {}
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        match *self {}
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

impl Tls {
    pub(crate) fn receive(
        &mut self,
        _: &[u8],
        _: &mut Vec<u8>,
        _: &mut Vec<u8>,
    ) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn send(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn close(&mut self, _: &mut Vec<u8>) {
        match *self {}
    }

    pub(crate) fn peer(&self) -> Option<Fingerprint> {
        match *self {}
    }

    pub(crate) fn is_there(&self) -> bool {
        match *self {}
    }

    pub(crate) fn is_over(&self) -> bool {
        match *self {}
    }
}

impl TlsFault {
    pub(crate) fn of_client(error: &Error) -> Self {
        match *error {}
    }
}
