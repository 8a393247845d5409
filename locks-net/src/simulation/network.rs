//! Connections as streams of bytes that come late, in pieces, and not always all.

use std::collections::VecDeque;
use std::time::Duration;

use locks_core::Moment;

use super::random::SeededRandom;

/// A connection of a client to a server.
#[derive(Debug)]
pub(super) struct SimulatedConnection {
    pub(super) client: usize,
    /// Between two processes of one machine.
    pub(super) is_local: bool,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    /// When the server can accept it.
    pub(super) accept_at: Moment,
    /// What the server calls it, while it has it.
    pub(super) server: ServerEnd,
    /// The client has closed it, or is gone.
    pub(super) left: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerEnd {
    Unaccepted,
    Known(crate::arbiter::ConnId),
    Closed,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Pipe {
    chunks: VecDeque<Chunk>,
    written: u64,
    read: u64,
    /// Nothing comes before that.
    last: Moment,
    /// When the reader sees the end of it.
    end: Option<Moment>,
    /// What is written goes nowhere.
    is_dead: bool,
    /// Nothing arrives until then.
    held_up: Moment,
    /// After how many bytes frames of a session are complete.
    marks: VecDeque<u64>,
    is_local: bool,
}

#[derive(Debug)]
struct Chunk {
    at: Moment,
    bytes: Vec<u8>,
    /// Counted from the beginning.
    end: u64,
}

impl SimulatedConnection {
    pub(super) fn new(client: usize, is_local: bool, accept_at: Moment) -> Self {
        Self {
            client,
            is_local,
            up: Pipe::new(is_local, accept_at),
            down: Pipe::new(is_local, accept_at),
            accept_at,
            server: ServerEnd::Unaccepted,
            left: false,
        }
    }

    /// Whether neither end has any use for it.
    pub(super) fn is_over(&self) -> bool {
        self.left && self.server == ServerEnd::Closed
    }

    /// Nothing passes until then, up and down.
    pub(super) fn hold_up(&mut self, (up, down): (Moment, Moment)) {
        self.up.held_up = self.up.held_up.max(up);
        self.down.held_up = self.down.held_up.max(down);
    }

    pub(super) fn let_through(&mut self, now: Moment) {
        self.up.held_up = self.up.held_up.min(now);
        self.down.held_up = self.down.held_up.min(now);
    }
}

impl Pipe {
    fn new(is_local: bool, opened: Moment) -> Self {
        Self {
            chunks: VecDeque::new(),
            written: 0,
            read: 0,
            last: opened,
            end: None,
            is_dead: false,
            held_up: opened,
            marks: VecDeque::new(),
            is_local,
        }
    }

    pub(super) fn write(&mut self, now: Moment, mut bytes: &[u8], random: &mut SeededRandom) {
        if self.is_dead {
            return;
        }
        while !bytes.is_empty() {
            let whole = random.percent(70);
            let len =
                if whole { bytes.len() } else { bytes.len().min(random.within(1..40) as usize) };
            let (chunk, rest) = bytes.split_at(len);
            bytes = rest;
            self.last = self.last.max(now.after(delay(self.is_local, random)));
            self.written += len as u64;
            let (at, end) = (self.last, self.written);
            self.chunks.push_back(Chunk { at, bytes: chunk.to_vec(), end });
        }
    }

    /// What was written so far ends with a frame of a session.
    pub(super) fn mark(&mut self) {
        if !self.is_dead {
            self.marks.push_back(self.written);
        }
    }

    /// Whether such a frame has come in since this was asked last, read or not.
    pub(super) fn has_come_in(&mut self, now: Moment) -> bool {
        if now < self.held_up {
            return false;
        }
        let there = self.chunks.iter().take_while(|chunk| chunk.at <= now).last();
        let there = there.map_or(self.read, |chunk| chunk.end);
        let before = self.marks.len();
        while self.marks.front().is_some_and(|mark| *mark <= there) {
            self.marks.pop_front();
        }
        self.marks.len() < before
    }

    pub(super) fn read(&mut self, now: Moment) -> Option<Vec<u8>> {
        if now < self.held_up || self.chunks.front()?.at > now {
            return None;
        }
        let chunk = self.chunks.pop_front()?;
        self.read = chunk.end;
        Some(chunk.bytes)
    }

    /// Whether its end has been reached.
    pub(super) fn has_ended(&self, now: Moment) -> bool {
        self.chunks.is_empty() && now >= self.held_up && self.end.is_some_and(|end| end <= now)
    }

    /// When there is something for its reader.
    pub(super) fn next(&self) -> Option<Moment> {
        let next = self.chunks.front().map(|chunk| chunk.at).or(self.end)?;
        Some(next.max(self.held_up))
    }

    /// Its writer has closed it, in good order.
    pub(super) fn close(&mut self, now: Moment, random: &mut SeededRandom) {
        if !self.is_dead {
            self.is_dead = true;
            self.last = self.last.max(now.after(delay(self.is_local, random)));
            self.end.get_or_insert(self.last);
        }
    }

    /// It breaks: of what is under way only a part arrives. The reader sees that at `end`, if ever.
    pub(super) fn cut(&mut self, end: Option<Moment>, random: &mut SeededRandom) {
        self.is_dead = true;
        let under_way = self.written - self.read;
        let mut left = random.within(0..under_way + 1);
        if random.percent(30) {
            left = under_way;
        }
        for chunk in &mut self.chunks {
            chunk.bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= chunk.bytes.len() as u64;
        }
        self.chunks.retain(|chunk| !chunk.bytes.is_empty());
        for chunk in &mut self.chunks {
            // The end is seen behind all of it.
            chunk.at = end.map_or(chunk.at, |end| chunk.at.min(end));
        }
        let mut from = self.read;
        for chunk in &mut self.chunks {
            from += chunk.bytes.len() as u64;
            chunk.end = from;
        }
        self.end = end;
    }

    /// Its reader is gone.
    pub(super) fn drop_rest(&mut self) {
        self.is_dead = true;
        self.chunks.clear();
        self.end = None;
    }
}

/// How long some bytes take.
pub(super) fn delay(is_local: bool, random: &mut SeededRandom) -> Duration {
    if is_local {
        return Duration::from_micros(random.within(5..60));
    }
    match random.within(0..100) {
        0..1 => random.millis(50..250),
        1..10 => random.millis(5..30),
        _ => Duration::from_micros(random.within(100..3000)),
    }
}
