//! From a connection to an open session.

use locks_core::Moment;

use super::connection::LinkStage;
use super::ending::Ending;
use super::trust::Trust;
use super::{Broken, ClientSession, Deferred, EstablishedSession};
use crate::channel::Channel;
use crate::secret::{ClientHandshake, Established, HandshakeStep};
use crate::wire::{
    Call, FrameReader, Greeting, How, MAX_EVENT_FRAME, Malformed, Open, Opened, Rejected, Resume,
    Versions, Why, decode_answer, put_frame,
};

impl ClientSession {
    /// A greeting has come in.
    pub(super) fn greeted(&mut self, body: &[u8]) -> Result<(), Broken> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        match std::mem::replace(&mut connection.stage, LinkStage::Over) {
            LinkStage::Hello(mut handshake) => match handshake.receive(body) {
                Ok(step) => self.shaken(handshake, step),
                Err(rejected) => Err(self.rejected(rejected)),
            },
            LinkStage::Opening(at) => match decode_answer::<Opened>(body)? {
                Ok(opened) => self.opened(opened, at),
                Err(rejected) => Err(self.rejected(rejected)),
            },
            LinkStage::Open | LinkStage::Over => Err(Broken("a greeting came out of turn".into())),
        }
    }

    fn shaken(
        &mut self,
        handshake: Box<ClientHandshake>,
        step: HandshakeStep,
    ) -> Result<(), Broken> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        if let Some(reply) = step.reply {
            put_frame(&mut self.out, |body| body.extend(reply));
        }
        let Some(Established { server, .. }) = step.established else {
            connection.stage = LinkStage::Hello(handshake);
            return Ok(());
        };
        connection.server = server;
        self.ask_to_open();
        Ok(())
    }

    fn ask_to_open(&mut self) {
        let now = self.now();
        let Some(connection) = &mut self.connection else { return };
        let resume = self.established.as_ref().map(|established| Resume {
            realm: established.realm,
            secret: established.secret,
            server: established.server,
            received: self.channel.applied(),
        });
        let open = Open { resume, party: self.setup.party.clone(), lease: self.setup.lease };
        put_frame(&mut self.out, |body| open.encode(body));
        connection.stage = LinkStage::Opening(now);
    }

    fn opened(&mut self, opened: Opened, asked: Moment) -> Result<(), Broken> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        if opened.how != How::New
            && self.established.as_ref().is_none_or(|it| it.realm != opened.realm)
        {
            return Err(Broken("a session was resumed that was not asked for".into()));
        }
        let max_frame = opened.max_frame as usize;
        connection.stage = LinkStage::Open;
        let server = connection.server;
        (self.trouble, self.overtook_proof) = (None, false);
        if opened.how == How::New {
            self.end_life();
            let trust = Trust::new(opened.renews, opened.lease, asked);
            let (realm, secret) = (opened.realm, opened.secret);
            self.established = Some(EstablishedSession { realm, secret, server, max_frame, trust });
        } else if let Some(established) = &mut self.established {
            (established.server, established.max_frame) = (server, max_frame);
            established.trust.resumed(opened.renews, opened.lease, asked);
        }
        match opened.how {
            How::Resumed => self.repeat(opened.applied)?,
            How::New => self.begin_anew(),
            How::Restored => self.restore(),
        }
        // No other acknowledgement may come by itself.
        for number in std::mem::take(&mut self.unproven) {
            self.call(number);
        }
        // What was released over the last connection is applied now, and somebody may want to know.
        if opened.renews || self.endings.values().any(Ending::is_awaited) {
            self.ping();
        }
        self.reached_server();
        Ok(())
    }

    /// What comes next is longer.
    pub(super) fn prepare(&self, reader: &mut FrameReader) {
        if self.is_open() {
            reader.set_max(MAX_EVENT_FRAME);
        }
    }

    /// What the server has not received, and then what has come up meanwhile.
    fn repeat(&mut self, applied: u64) -> Result<(), Broken> {
        let proved = self.channel.repeat(applied, &mut self.out)?;
        // Nothing else may come that tells of it. It confirms no release: the lock may have been
        // taken away before, and the word of that is among what the server repeats. What it says
        // behind that does.
        self.proved(proved);
        self.last_ping = None;
        for deferred in std::mem::take(&mut self.deferred) {
            match deferred {
                Deferred::Ask(number) => self.ask(number, self.now()),
                Deferred::End(request) => self.send_end(request),
                Deferred::Disown(request) => _ = self.transmit(&Call::Disown { request }),
            }
        }
        self.tell_taken();
        Ok(())
    }

    /// What is asked for is asked in the new session.
    fn begin_anew(&mut self) {
        self.reopen_mailbox();
        let numbers = self.unanswered.keys().copied().collect::<Vec<_>>();
        numbers.into_iter().for_each(|number| self.ask(number, self.now()));
    }

    /// The server has been restarted, and has the session from its journal (N4).
    fn restore(&mut self) {
        self.channel = Channel::default();
        self.ordered.0 = 0;
        self.last_ping = None;
        let names = self.labels.told_again();
        self.deferred.clear();
        let held = self.holds.iter().filter(|(_, held)| !held.is_given_up());
        let mut held = held.map(|it| *it.0).collect::<Vec<_>>();
        // What is released and was never said to be is held as far as any server knows; or it was
        // lost, and whoever releases it is to hear of that.
        let unsaid = self.endings.iter().filter(|(_, ending)| ending.is_unsaid());
        let mut unsaid = unsaid.map(|it| *it.0).collect::<Vec<_>>();
        held.extend(&unsaid);
        held.sort_unstable();
        unsaid.sort_unstable();
        let pending = self.unanswered.iter().filter(|(_, asked)| asked.may_hold());
        let pending = pending.map(|it| *it.0).collect::<Vec<_>>();
        let last = self.tell_holding(held, pending);
        // That is acknowledged with the first thing that the server has to say to it, and what was
        // lost may be the second: a release is confirmed with the frame behind it.
        self.endings.values_mut().for_each(|ending| ending.sent = Some(last + 1));
        unsaid.into_iter().for_each(|request| self.send_end(request));
        let disowned = self.holds.iter().filter(|(_, held)| held.disowned && !held.is_given_up());
        let disowned = disowned.map(|it| *it.0).collect::<Vec<_>>();
        for request in disowned {
            self.transmit(&Call::Disown { request });
        }
        for name in names {
            self.transmit(&name);
        }
        // It may have been granted by the server before, and be told only now.
        let known = self.unanswered.iter().filter(|(_, asked)| asked.sent.is_some());
        let known = known.map(|(number, asked)| (*number, asked.not_before.1)).collect::<Vec<_>>();
        self.begin_anew();
        for (number, at) in known {
            self.unanswered.get_mut(&number).into_iter().for_each(|it| it.not_before.1 = at);
        }
    }

    /// In as many frames as it takes; the number of the last.
    fn tell_holding(&mut self, mut held: Vec<u64>, mut pending: Vec<u64>) -> u64 {
        let longest = self.established.as_ref().map_or(0, |it| it.max_frame);
        let room = (longest.saturating_sub(64) / 8).max(1);
        loop {
            let rest = held.split_off(held.len().min(room));
            let others = pending.split_off(pending.len().min(room - held.len()));
            let more = !rest.is_empty() || !others.is_empty();
            let sent = self.transmit(&Call::Holding { held, pending, more });
            if !more {
                return sent;
            }
            (held, pending) = (rest, others);
        }
    }

    /// The session is over: what it held is lost, and its channel ends.
    pub(super) fn end_life(&mut self) {
        self.channel = Channel::default();
        self.ordered.0 = 0;
        self.last_ping = None;
        self.labels.forgotten();
        self.deferred.clear();
        if self.established.is_some() {
            self.lose_all();
        }
    }

    #[cold]
    fn rejected(&mut self, rejected: Rejected) -> Broken {
        let Rejected { why, mut text } = rejected;
        let kind = match why {
            Why::Version(theirs) => match self.versions.newest_of(theirs) {
                Some(both) if both != self.version => {
                    self.version = both;
                    None
                }
                // It was asked for that.
                Some(_) => Some(locks_core::ErrorKind::Protocol),
                None => {
                    text = no_version_of_both(self.versions, theirs);
                    Some(locks_core::ErrorKind::Protocol)
                }
            },
            Why::Protocol => Some(locks_core::ErrorKind::Protocol),
            Why::Unauthorized => Some(locks_core::ErrorKind::Unauthorized),
            // Who comes back passes outside that limit, if not at once.
            Why::LimitExceeded if self.established.is_some() => None,
            Why::LimitExceeded => Some(locks_core::ErrorKind::LimitExceeded),
            Why::Unavailable => None,
        };
        if let Some(kind) = kind {
            self.refuse(kind, &text);
        }
        Broken(text)
    }
}

fn no_version_of_both(ours: Versions, theirs: Versions) -> String {
    let (is, older) = match theirs.newest < ours.oldest {
        true => ("older", "the server"),
        false => ("newer", "the program"),
    };
    format!(
        "the lock server speaks {theirs} of the protocol, which is {is} than what this program speaks ({ours}): \
         update {older}"
    )
}

impl From<Malformed> for Broken {
    fn from(malformed: Malformed) -> Self {
        Broken(format!("the server's answer was not understood: {malformed}"))
    }
}
