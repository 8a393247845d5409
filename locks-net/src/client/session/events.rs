//! What comes in.

use locks_core::Moment;

use super::ask::RequestOutcome;
use super::calls::Answer;
use super::{Broken, ClientSession, UNTOLD};
use crate::channel::Arrived;
use crate::wire::{Event, FrameReader, Malformed, split_frame};

/// A frame that is worth acknowledging by itself: the server keeps it until then.
const LARGE: usize = 4096;

impl ClientSession {
    /// Applies all complete frames.
    pub(super) fn take_frames(&mut self, reader: &mut FrameReader) -> Result<(), Broken> {
        let mut proved = None;
        let mut large = false;
        let taken = loop {
            let open = self.is_open();
            let body = match reader.next() {
                Ok(Some(body)) => body,
                Ok(None) => break Ok(()),
                Err(malformed) => break Err(malformed.into()),
            };
            let applied = if open {
                large |= body.len() > LARGE;
                self.apply(body, &mut proved).map_err(Broken::from)
            } else {
                self.greeted(body).inspect(|()| self.prepare(reader))
            };
            if let Err(broken) = applied {
                break Err(broken);
            }
        };
        // Last of all: what the server ended before it acknowledged is known by then (C8).
        self.acknowledged(proved);
        if taken.is_ok()
            && let owed = self.channel.owes()
            && (owed >= UNTOLD || owed > 0 && large)
            && self.is_open()
        {
            self.channel.acknowledge(&mut self.out);
        }
        taken
    }

    fn apply(&mut self, body: &[u8], proved: &mut Option<Moment>) -> Result<(), Malformed> {
        let (number, ack, message) = split_frame(body)?;
        let acknowledged = self.channel.acknowledged(ack)?;
        if number > 0 && self.channel.arrived(number)? == Arrived::New {
            self.happened(Event::decode(message)?);
        }
        if let Some(at) = acknowledged {
            *proved = (*proved).max(Some(at));
            self.ordered = (ack, at);
        }
        Ok(())
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Granted { request, token, stolen_from } => {
                self.granted(request, token, stolen_from);
            }
            Event::Refused { call, error } => {
                if self.unanswered.get(&call).is_some_and(|asked| asked.is_open()) {
                    self.fail(call, error);
                }
            }
            Event::Done { call } => self.answered(call, Answer::Done),
            Event::Listed { call, infos, more } => self.listed(call, infos, more),
            Event::Evicted { call, found } => self.answered(call, Answer::Evicted(found)),
            Event::Status { call, status } => self.answered(call, Answer::Status(status)),
            Event::Lost { request, cause } => self.told_lost(request, cause),
            Event::Message { note, from } => self.received(*note, from),
            Event::Published { call, published } => {
                self.answered(call, Answer::Published(published));
            }
            Event::Closing => self.closing = true,
        }
    }

    fn granted(
        &mut self,
        request: u64,
        token: locks_core::Token,
        stolen_from: Vec<locks_core::HolderInfo>,
    ) {
        let realm = self.realm();
        let here = |holder| self.labels.holder(realm, holder);
        let stolen_from = stolen_from.into_iter().map(here).collect();
        let renews = self.established.as_ref().is_some_and(|it| it.trust.renews);
        // Of what was withdrawn the `End` is under way.
        let Some(asked) = self.unanswered.get_mut(&request) else { return };
        if asked.is_open() && asked.is_acquisition() {
            // Over a socket of this machine the word of an end is there when the lock is passed on.
            asked.ends_at = asked.bound().filter(|_| renews).map(|most| {
                let (frame, sent) = asked.not_before;
                let (applied, at) = self.ordered;
                // Granted no sooner than it was asked, or than what the server had applied before
                // it said so.
                if applied >= frame { at } else { sent }.after(most)
            });
            asked.stolen_from = stolen_from;
            asked.outcome = RequestOutcome::Granted(token);
            self.call(request);
        }
    }

    fn answered(&mut self, call: u64, answer: Answer) {
        let Some(asked) = self.unanswered.get_mut(&call) else { return };
        if asked.is_open() && !asked.is_acquisition() {
            asked.outcome = RequestOutcome::Answered(answer);
            self.call(call);
        }
    }

    fn listed(&mut self, call: u64, infos: Vec<locks_core::LockInfo>, more: bool) {
        let realm = self.realm();
        let infos = infos.into_iter().map(|info| self.labels.info_here(realm, info));
        let infos = infos.collect::<Vec<_>>();
        let more_by = self.now().after(self.setup.connect);
        let Some(asked) = self.unanswered.get_mut(&call) else { return };
        let mut listed = match std::mem::replace(&mut asked.outcome, RequestOutcome::None) {
            RequestOutcome::Partial(listed) => listed,
            RequestOutcome::None => Vec::new(),
            other => return asked.outcome = other,
        };
        for info in infos {
            match listed.last_mut() {
                // An entry for the key of the one before goes on with that.
                Some(last) if last.key == info.key => {
                    last.holders.extend(info.holders);
                    last.waiters.extend(info.waiters);
                    last.reserved_by.extend(info.reserved_by);
                }
                _ => listed.push(info),
            }
        }
        if more {
            asked.outcome = RequestOutcome::Partial(listed);
            // It answers, and goes on.
            asked.limit = Some(more_by);
            self.set_deadline(call, Some(more_by));
        } else {
            self.answered(call, Answer::Listed(listed));
        }
    }

    /// The server has applied more, of which the newest was sent at `proved`.
    pub(super) fn acknowledged(&mut self, proved: Option<Moment>) {
        if proved.is_some() && !self.endings.is_empty() {
            self.confirm_endings(self.channel.first_unacknowledged());
        }
        self.proved(proved);
    }

    /// The server was there when the newest of what it has applied was sent.
    pub(super) fn proved(&mut self, proved: Option<Moment>) {
        let (Some(at), Some(established)) = (proved, &mut self.established) else { return };
        #[cfg(test)]
        let at = match self.broken {
            Some(crate::simulation::Bug::ValidFromReply) => self.setup.clock.now(),
            _ => at,
        };
        established.trust.acknowledged(at);
        for number in std::mem::take(&mut self.unproven) {
            self.call(number);
        }
    }
}
