//! Frames and messages as bytes. Pure: no I/O, no time. `PROTOCOL.md` is the description.
//!
//! A connection begins with greetings ([`ClientHello`] to [`Opened`]), one message in a frame each.
//! Then come the numbered frames of the session, made by [`Channel`](crate::channel::Channel).

mod bytes;
mod call;
mod error;
mod event;
mod frame;
mod greeting;
mod hello;
mod info;
mod malformed;
mod message;
mod note;
#[cfg(test)]
mod tests;

pub(crate) use self::event::MAX_EVENT_FRAME;
pub(crate) use self::frame::{FrameReader, join_frame, put_frame, split_frame};
pub(crate) use self::greeting::{Greeting, MAX_CLIENT_GREETING, decode_answer};
pub(crate) use self::hello::{
    ClientHello, ClientProof, How, Open, Opened, Rejected, Resume, ServerHello, ServerProof,
    VERSIONS, Versions, Why,
};
pub(crate) use self::malformed::Malformed;
pub use self::message::Status;
pub(crate) use self::message::{Acquire, Call, Event, MAX_WITHIN};
pub use self::note::Published;
pub(crate) use self::note::{Keep, MAX_MESSAGE, MAX_RECEIVERS, MAX_SUBJECT, Note, Publish};
