//! Round trips, canonicity, and what is refused.

mod bounds;
mod examples;
mod frames;
mod values;

use std::fmt::Debug;

use locks_core::LockError;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{
    Call, ClientHello, ClientProof, Event, Greeting, Malformed, Open, Opened, Rejected,
    ServerHello, ServerProof, decode_answer,
};

/// A message as what knows its bytes.
trait Message: Sized + Debug {
    fn bytes(&self) -> Vec<u8>;
    fn parse(bytes: &[u8]) -> Result<Self, Malformed>;
    /// All that a message says, which its `Debug` may keep to itself.
    fn said(&self) -> String {
        format!("{self:?}")
    }
}

impl Message for Call {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::decode(bytes)
    }
}

impl Message for Event {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::decode(bytes)
    }

    fn said(&self) -> String {
        match self {
            Event::Refused { call, error } => format!("{call} {}", all_of(error)),
            // Its `at` is the moment at which it was decoded.
            Event::Listed { call, infos, more } => {
                let mut infos = infos.clone();
                infos.iter_mut().for_each(|info| info.at = std::time::UNIX_EPOCH);
                format!("{call} {infos:?} {more}")
            }
            other => format!("{other:?}"),
        }
    }
}

fn all_of(error: &LockError) -> String {
    let lists = (error.holders(), error.waiters(), error.cycle(), error.waiting());
    let rest = (error.message(), error.waited(), error.token(), error.reserved_for());
    format!("{:?} {:?} {lists:?} {rest:?}", error.kind(), error.key())
}

macro_rules! greetings {
    ($($greeting:ident: $said:expr;)*) => {$(
        impl Message for $greeting {
            fn bytes(&self) -> Vec<u8> {
                let mut bytes = Vec::new();
                self.encode(&mut bytes);
                bytes
            }

            fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
                Self::decode(bytes)
            }

            fn said(&self) -> String {
                let said: fn(&Self) -> String = $said;
                said(self)
            }
        }
    )*};
}

greetings! {
    ClientHello: |hello| format!("{hello:?}");
    ServerHello: |hello| format!("{hello:?}");
    ClientProof: |proof| format!("{} {:?}", proof.name, proof.proof);
    ServerProof: |proof| format!("{:?}", proof.0);
    Open: |open| {
        let resume = open.resume.as_ref();
        let resume = resume.map(|it| (it.realm, it.secret, it.server, it.received));
        format!("{open:?} {resume:?}")
    };
    Opened: |opened| format!("{opened:?} {:?} {}", opened.secret, opened.max_frame);
    Rejected: |rejected| format!("{rejected:?}");
}

fn comes_back<M: Message>(message: &M) -> Result<(), TestCaseError> {
    let bytes = message.bytes();
    let back = M::parse(&bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(back.said(), message.said());
    for len in 0..bytes.len() {
        prop_assert!(M::parse(&bytes[..len]).is_err(), "cut to {} bytes", len);
    }
    let mut longer = bytes;
    longer.push(0);
    prop_assert!(M::parse(&longer).is_err(), "with one more byte");
    Ok(())
}

/// What can be decoded at all is what its value encodes to.
fn is_canonical<M: Message>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(message) = M::parse(bytes) {
        prop_assert_eq!(message.bytes(), bytes, "{:?}", message);
    }
    Ok(())
}

fn mutate(bytes: &mut [u8], changes: &[(Index, u8)]) {
    for (index, change) in changes {
        let at = index.index(bytes.len());
        // Small changes go from one valid value to another more often.
        bytes[at] = if change % 2 == 0 { bytes[at] ^ (1 << (change / 2 % 8)) } else { *change };
    }
}

fn changes() -> impl Strategy<Value = Vec<(Index, u8)>> {
    prop::collection::vec(any::<(Index, u8)>(), 1..3)
}

macro_rules! for_each_message {
    ($($name:ident: $message:ident, $value:expr;)*) => {$(
        mod $name {
            use super::*;

            proptest! {
                #[test]
                fn n2_comes_back_whole_and_never_from_a_part(message in $value) {
                    comes_back(&message)?;
                }

                #[test]
                fn n2_has_one_encoding(message in $value, changes in changes()) {
                    let mut bytes = message.bytes();
                    mutate(&mut bytes, &changes);
                    is_canonical::<$message>(&bytes)?;
                }

                #[test]
                fn n2_is_never_a_panic(
                    kind in 0..16_u8,
                    rest in prop::collection::vec(prop_oneof![0..4_u8, any::<u8>()], 0..200),
                ) {
                    let mut bytes = vec![kind];
                    bytes.extend(rest);
                    is_canonical::<$message>(&bytes)?;
                }
            }
        }
    )*};
}

for_each_message! {
    calls: Call, values::call();
    events: Event, values::event();
    client_hellos: ClientHello, values::client_hello();
    server_hellos: ServerHello, values::server_hello();
    client_proofs: ClientProof, values::client_proof();
    server_proofs: ServerProof, values::server_proof();
    opens: Open, values::open();
    openeds: Opened, values::opened();
    rejections: Rejected, values::rejected();
}

proptest! {
    #[test]
    fn n2_an_answer_is_what_was_expected_or_a_rejection(
        opened in values::opened(),
        rejected in values::rejected(),
    ) {
        prop_assert_eq!(decode_answer::<Opened>(&opened.bytes()), Ok(Ok(opened.clone())));
        prop_assert_eq!(decode_answer::<Opened>(&rejected.bytes()), Ok(Err(rejected)));
        prop_assert!(decode_answer::<ServerHello>(&opened.bytes()).is_err());
    }
}
