//! Greetings as bytes.

use super::bytes::{MessageReader, Put};
use super::info::{MAX_TEXT, put_party, take_party};
use super::{
    ClientHello, ClientProof, How, Malformed, Open, Opened, Rejected, Resume, ServerHello,
    ServerProof, Versions, Why,
};
use crate::secret::MAX_NAME;

/// Until a session is open a server takes no frame longer than this. All that clients say before
/// fits.
pub(crate) const MAX_CLIENT_GREETING: usize = 1024;

/// What is said before a session's frames. Its first byte says which it is.
pub(crate) trait Greeting: Sized {
    /// That byte.
    const KIND: u8;

    /// Appends what follows it.
    fn put(&self, out: &mut Vec<u8>);

    /// Takes what follows it.
    fn take(from: &mut MessageReader<'_>) -> Result<Self, Malformed>;

    /// Appends the greeting's bytes.
    fn encode(&self, out: &mut Vec<u8>) {
        out.u8(Self::KIND);
        self.put(out);
    }

    /// The greeting with these bytes, all of them.
    fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut from = MessageReader::new(body);
        if from.u8()? != Self::KIND {
            return Err(Malformed("another greeting was expected"));
        }
        let greeting = Self::take(&mut from)?;
        from.end()?;
        Ok(greeting)
    }
}

/// What a server says next: the greeting that was expected, or that it does not go on.
pub(crate) fn decode_answer<T: Greeting>(body: &[u8]) -> Result<Result<T, Rejected>, Malformed> {
    match body.first() {
        Some(&Rejected::KIND) => Rejected::decode(body).map(Err),
        _ => T::decode(body).map(Ok),
    }
}

impl Greeting for ClientHello {
    const KIND: u8 = 1;

    fn put(&self, out: &mut Vec<u8>) {
        out.u16(self.version);
        out.bytes(&self.nonce);
    }

    fn take(from: &mut MessageReader<'_>) -> Result<Self, Malformed> {
        Ok(Self { version: from.u16()?, nonce: from.array()? })
    }
}

impl Greeting for ServerHello {
    const KIND: u8 = 2;

    fn put(&self, out: &mut Vec<u8>) {
        out.u16(self.version);
        out.bytes(&self.server);
        out.bytes(&self.nonce);
        out.bool(self.secret);
    }

    fn take(from: &mut MessageReader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            version: from.u16()?,
            server: from.array()?,
            nonce: from.array()?,
            secret: from.bool()?,
        })
    }
}

impl Greeting for ClientProof {
    const KIND: u8 = 3;

    fn put(&self, out: &mut Vec<u8>) {
        out.text(&self.name, MAX_NAME);
        out.bytes(&self.proof);
    }

    fn take(from: &mut MessageReader<'_>) -> Result<Self, Malformed> {
        Ok(Self { name: from.text(MAX_NAME)?, proof: from.array()? })
    }
}

impl Greeting for ServerProof {
    const KIND: u8 = 7;

    fn put(&self, out: &mut Vec<u8>) {
        out.bytes(&self.0);
    }

    fn take(from: &mut MessageReader<'_>) -> Result<Self, Malformed> {
        from.array().map(Self)
    }
}

impl Greeting for Open {
    const KIND: u8 = 4;

    fn put(&self, out: &mut Vec<u8>) {
        out.flags([self.resume.is_some(), self.lease.is_some()]);
        if let Some(Resume { realm, secret, server, received }) = &self.resume {
            out.u32(*realm);
            out.bytes(secret);
            out.bytes(server);
            out.u64(*received);
        }
        put_party(out, &self.party, None);
        if let Some(lease) = self.lease {
            out.duration(lease);
        }
    }

    fn take(from: &mut MessageReader<'_>) -> Result<Self, Malformed> {
        let [resume, lease] = from.flags()?;
        let resume = from.if_set(resume, |from| {
            Ok(Resume {
                realm: from.u32()?,
                secret: from.array()?,
                server: from.array()?,
                received: from.u64()?,
            })
        })?;
        let party = take_party(from)?;
        if party.site.is_some() {
            return Err(Malformed("a client as a whole is at no call site"));
        }
        Ok(Self { resume, party, lease: from.if_set(lease, MessageReader::duration)? })
    }
}

impl Greeting for Opened {
    const KIND: u8 = 5;

    fn put(&self, out: &mut Vec<u8>) {
        out.u8(match self.how {
            How::New => 1,
            How::Resumed => 2,
            How::Restored => 3,
        });
        out.u32(self.realm);
        out.bytes(&self.secret);
        out.u64(self.applied);
        out.u32(self.max_frame);
        out.duration(self.lease);
        out.bool(self.renews);
    }

    fn take(from: &mut MessageReader<'_>) -> Result<Self, Malformed> {
        let how = match from.u8()? {
            1 => How::New,
            2 => How::Resumed,
            3 => How::Restored,
            _ => return Err(Malformed("no such way to open a session")),
        };
        let opened = Self {
            how,
            realm: from.u32()?,
            secret: from.array()?,
            applied: from.u64()?,
            max_frame: from.u32()?,
            lease: from.duration()?,
            renews: from.bool()?,
        };
        if how != How::Resumed && opened.applied != 0 {
            return Err(Malformed("frames were applied that cannot have been sent"));
        }
        Ok(opened)
    }
}

impl Greeting for Rejected {
    const KIND: u8 = 6;

    fn put(&self, out: &mut Vec<u8>) {
        match self.why {
            Why::Version(Versions { oldest, newest }) => {
                out.u8(1);
                out.u16(oldest);
                out.u16(newest);
            }
            Why::Unauthorized => out.u8(2),
            Why::LimitExceeded => out.u8(3),
            Why::Unavailable => out.u8(4),
            Why::Protocol => out.u8(5),
        }
        out.text(&self.text, MAX_TEXT);
    }

    fn take(from: &mut MessageReader<'_>) -> Result<Self, Malformed> {
        let why = match from.u8()? {
            1 => {
                let versions = Versions { oldest: from.u16()?, newest: from.u16()? };
                if versions.oldest > versions.newest {
                    return Err(Malformed("an oldest version that is newer than the newest"));
                }
                Why::Version(versions)
            }
            2 => Why::Unauthorized,
            3 => Why::LimitExceeded,
            4 => Why::Unavailable,
            5 => Why::Protocol,
            _ => return Err(Malformed("no such reason")),
        };
        Ok(Self { why, text: from.text(MAX_TEXT)? })
    }
}
