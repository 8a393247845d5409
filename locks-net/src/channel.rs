//! One side of a session's numbered frames (N2).

use std::collections::VecDeque;

use locks_core::Moment;

use crate::wire::{Malformed, join_frame, put_frame};

/// The numbered frames of a session, as one of its ends sees them: what it has sent and the other
/// has not acknowledged, and how far it has applied what the other has sent. It outlives
/// connections.
///
/// * H1: `unacknowledged` has the numbers from the first that the other side may lack to the last
///   sent, without a gap.
/// * H2: `applied` only grows, by one.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    last_sent: u64,
    unacknowledged: VecDeque<Sent>,
    applied: u64,
    /// The acknowledgement that the other side has been sent last.
    told: u64,
    /// Bytes in `unacknowledged`.
    kept: usize,
    /// The other side is known to have this acknowledgement of its frames, or a later one.
    passed: u64,
}

#[derive(Debug)]
struct Sent {
    message: Box<[u8]>,
    /// When it was sent first.
    at: Moment,
    /// The acknowledgement that went with it when it was put on a connection first; 0 before.
    ack: u64,
}

/// What has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// To be applied.
    New,
    /// It was applied before.
    Repeated,
}

impl Channel {
    /// Numbers a message and keeps it until it is acknowledged; also puts it into `out`, if there
    /// is a connection.
    pub(crate) fn send(
        &mut self,
        message: &[u8],
        now: Moment,
        connection: Option<&mut Vec<u8>>,
    ) -> u64 {
        self.last_sent += 1;
        let ack = if connection.is_some() { self.applied } else { 0 };
        self.unacknowledged.push_back(Sent { message: message.into(), at: now, ack });
        self.kept += message.len();
        if let Some(out) = connection {
            self.told = self.applied;
            put_frame(out, |body| join_frame(body, self.last_sent, self.applied, message));
        }
        self.last_sent
    }

    /// The other side has applied everything up to `ack`. When the newest frame among what is
    /// acknowledged by this was first sent, if there is one.
    ///
    /// # Errors
    /// If it acknowledges what was never sent.
    pub(crate) fn acknowledged(&mut self, ack: u64) -> Result<Option<Moment>, Malformed> {
        if ack > self.last_sent {
            return Err(Malformed("acknowledges a frame that was never sent"));
        }
        let mut newest = None;
        while let Some(first) = self.first_unacknowledged()
            && first <= ack
        {
            let sent = self.unacknowledged.pop_front().expect("H1");
            self.kept -= sent.message.len();
            newest = Some(sent.at);
            // It may have arrived as it was sent later, but not as it was sent sooner.
            self.passed = self.passed.max(sent.ack);
        }
        if self.unacknowledged.is_empty() && self.unacknowledged.capacity() > 256 {
            self.unacknowledged = VecDeque::new();
        }
        Ok(newest)
    }

    /// The other side's frame `number` has arrived.
    ///
    /// # Errors
    /// If one before it is missing.
    pub(crate) fn arrived(&mut self, number: u64) -> Result<Arrived, Malformed> {
        if number <= self.applied {
            return Ok(Arrived::Repeated);
        }
        if number != self.applied + 1 {
            return Err(Malformed("a frame is missing"));
        }
        self.applied = number;
        Ok(Arrived::New)
    }

    /// Puts everything into `out` that the other side has not received, after a new connection was
    /// made. That it has received the rest acknowledges it: see
    /// [`acknowledged`](Self::acknowledged).
    ///
    /// # Errors
    /// If it claims to have received what was never sent, or lacks what it had acknowledged.
    pub(crate) fn repeat(
        &mut self,
        received: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<Moment>, Malformed> {
        let newest = self.acknowledged(received)?;
        if received + (self.unacknowledged.len() as u64) != self.last_sent {
            return Err(Malformed("lacks a frame that it had acknowledged"));
        }
        self.told = self.applied;
        for (sent, number) in self.unacknowledged.iter_mut().zip(received + 1..) {
            if sent.ack == 0 {
                sent.ack = self.applied;
            }
            put_frame(out, |body| join_frame(body, number, self.applied, &sent.message));
        }
        Ok(newest)
    }

    /// Puts a frame into `out` that carries nothing but the acknowledgement.
    pub(crate) fn acknowledge(&mut self, out: &mut Vec<u8>) {
        self.told = self.applied;
        put_frame(out, |body| join_frame(body, 0, self.applied, &[]));
    }

    /// How many frames have been applied and not been acknowledged yet.
    pub(crate) fn owes(&self) -> u64 {
        self.applied - self.told
    }

    /// The other side's frames up to this one have been applied.
    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }

    /// Up to where the other side is known to have heard that its frames were applied.
    pub(crate) fn passed(&self) -> u64 {
        self.passed
    }

    /// Takes only what was acknowledged to have been applied.
    #[cfg(test)]
    pub(crate) fn forget_untold(&mut self) {
        self.applied = self.told;
    }

    /// The number of the first frame that the other side may not have applied.
    pub(crate) fn first_unacknowledged(&self) -> Option<u64> {
        let waiting = self.unacknowledged.len() as u64;
        (waiting > 0).then(|| self.last_sent - waiting + 1)
    }

    /// Bytes and frames that are kept for the other side.
    pub(crate) fn kept(&self) -> (usize, usize) {
        (self.kept, self.unacknowledged.len())
    }
}
