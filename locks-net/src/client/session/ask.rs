//! What is asked of the server, until it has answered.

use std::task::{Poll, Waker};
use std::time::Duration;

use locks_core::{CallSite, HolderInfo, LockError, LockInfo, LostCause, Moment, Token, Wait};

use super::calls::Answer;
use super::wakers::leave;
use super::{ClientSession, Deferred, KEPT, REQUESTS};
use crate::wire::{Acquire, Call};

/// A call or an acquisition that has not been answered, or whose answer was not fetched.
pub(super) struct Unanswered {
    pub(super) call: Call,
    site: Option<CallSite>,
    pub(super) asked: Moment,
    /// When its caller has waited enough, if at all, given that there is a connection.
    pub(super) limit: Option<Moment>,
    /// Until when the server may be reached, however short the caller waits.
    pub(super) reach: Moment,
    /// As it stands in `deadlines`.
    pub(super) deadline: Option<Moment>,
    /// Since when some server has known of it.
    pub(super) sent: Option<Moment>,
    /// The frame that asked for it last; and when, or when the one before did if that may have been
    /// granted.
    pub(super) not_before: (u64, Moment),
    /// When its own bound ends it, once it is granted, by the moment that the server cannot have
    /// granted it before (C14).
    pub(super) ends_at: Option<Moment>,
    pub(super) waker: Option<Waker>,
    /// Its caller was woken, and has not come yet.
    called: bool,
    /// How often it was granted, and its own bound had ended that before its caller came.
    too_late: u32,
    /// Whom it was stolen from, once it is granted.
    pub(super) stolen_from: Vec<HolderInfo>,
    pub(super) outcome: RequestOutcome,
}

pub(super) enum RequestOutcome {
    None,
    /// Granted, and not fetched yet.
    Granted(Token),
    /// Granted, held for as long as `hold_at_most` allows, and not fetched yet: its guard is lost
    /// from the start.
    HeldTooLong(Token),
    /// A part of the answer.
    Partial(Vec<LockInfo>),
    Answered(Answer),
    Failed(LockError),
}

/// How much later than the server a client ends a wait by itself: it has the better error.
pub(super) const LATER: Duration = Duration::from_millis(500);

impl Unanswered {
    pub(super) fn is_acquisition(&self) -> bool {
        matches!(self.call, Call::Acquire(_))
    }

    pub(super) fn wait(&self) -> Wait {
        match &self.call {
            Call::Acquire(acquire) => acquire.options.wait.unwrap_or_default(),
            _ => Wait::Try,
        }
    }

    /// The keys, for people.
    pub(super) fn keys(&self) -> String {
        match &self.call {
            Call::Acquire(acquire) => acquire.keys.join("`, `"),
            Call::Evict { key, .. } => key.clone(),
            _ => String::new(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.outcome, RequestOutcome::None | RequestOutcome::Partial(_))
    }

    /// Whether it is an acquisition that may still become a hold.
    pub(super) fn may_hold(&self) -> bool {
        self.is_acquisition()
            && matches!(self.outcome, RequestOutcome::None | RequestOutcome::Granted(_))
    }

    /// Notes that its own bound has ended a grant that was not fetched yet. Says whether it is to
    /// be asked for again: if that happens time after time, the bound is shorter than the way to
    /// its holder.
    pub(super) fn was_too_late(&mut self) -> bool {
        const TRIES: u32 = 3;
        self.too_late += 1;
        self.too_late < TRIES
    }

    /// For how long its hold may last, where that counts from its own grant: what is nested has the
    /// bound of what it is nested in.
    pub(super) fn bound(&self) -> Option<Duration> {
        match &self.call {
            Call::Acquire(it) if !it.options.reentrant && it.shared.is_none() => {
                it.options.hold_at_most
            }
            _ => None,
        }
    }

    fn lease(&self) -> Option<Duration> {
        match &self.call {
            Call::Acquire(acquire) => acquire.options.lease,
            _ => None,
        }
    }
}

impl ClientSession {
    /// Asks for keys that were wanted at `at`. Its number, and that of what may become its hold.
    ///
    /// # Errors
    /// `LimitExceeded`.
    pub(crate) fn acquire(
        &mut self,
        mut acquire: Box<Acquire>,
        site: Option<CallSite>,
        at: Moment,
    ) -> Result<u64, LockError> {
        let number = self.next_number().map_err(|error| self.told_of(error, site))?;
        let wait = match acquire.options.wait.unwrap_or_default() {
            // It is for the server to say whether it is free.
            Wait::AtMost(wait) if at.after(wait) <= self.now() => Wait::AtMost(Duration::ZERO),
            wait => wait,
        };
        (acquire.request, acquire.options.wait) = (number, Some(wait));
        self.begin(number, Call::Acquire(acquire), site, at);
        Ok(number)
    }

    /// What has come of an acquisition. Once it has answered with a token, the hold of that number
    /// is the caller's to [end](Self::end).
    pub(crate) fn poll_acquire(
        &mut self,
        request: u64,
        waker: Option<&mut Waker>,
    ) -> Poll<Result<Token, LockError>> {
        let now = self.now();
        self.expire_asks(now);
        let granted = self.unanswered.get(&request);
        if granted.is_some_and(|asked| asked.ends_at.is_some_and(|at| at <= now)) {
            self.told_lost(request, LostCause::HeldTooLong);
        }
        let Some(asked) = self.unanswered.get_mut(&request) else {
            return Poll::Ready(Err(self.unavailable("it was asked for in another session")));
        };
        match &asked.outcome {
            RequestOutcome::Granted(token) => {
                let token = *token;
                let lease = asked.lease();
                if self.established.as_ref().is_some_and(|it| it.trust.covers(lease, now)) {
                    self.hold(request, token, lease);
                    return Poll::Ready(Ok(token));
                }
                // C8: it costs a heartbeat.
                self.ping_for_proof(request);
            }
            RequestOutcome::HeldTooLong(token) => {
                let (token, lease, is_known) = (*token, asked.lease(), asked.sent.is_some());
                self.hold(request, token, lease);
                self.lose(request, LostCause::HeldTooLong);
                if let Some(held) = self.holds.get_mut(&request) {
                    held.ended = !is_known;
                }
                return Poll::Ready(Ok(token));
            }
            RequestOutcome::Failed(_) => {
                if let Some(RequestOutcome::Failed(error)) = self.forget(request) {
                    return Poll::Ready(Err(error));
                }
            }
            RequestOutcome::None | RequestOutcome::Partial(_) | RequestOutcome::Answered(_) => {}
        }
        self.leave_waker(request, waker);
        Poll::Pending
    }

    /// The caller does not wait for an acquisition any more (C5).
    pub(crate) fn withdraw(&mut self, request: u64) {
        let Some(asked) = self.unanswered.get(&request) else { return };
        let known = asked.sent.is_some() && !matches!(asked.outcome, RequestOutcome::Failed(_));
        self.forget(request);
        #[cfg(test)]
        if self.broken == Some(crate::simulation::Bug::NotWithdrawn) {
            return;
        }
        if known {
            self.send_end_in_turn(request, self.now());
        }
    }

    /// Sends what is unanswered under this number.
    pub(super) fn ask(&mut self, number: u64, now: Moment) {
        let Some(asked) = self.unanswered.get_mut(&number) else { return };
        // A grant of a session that is over, or that a restarted server may lack: it is asked
        // again.
        if matches!(asked.outcome, RequestOutcome::Granted(_) | RequestOutcome::Partial(_)) {
            asked.outcome = RequestOutcome::None;
            asked.ends_at = None;
        }
        if !asked.is_open() {
            return;
        }
        if matches!(asked.call, Call::Publish { .. }) && asked.sent.is_some() {
            // Some may have it, and are not to get it twice.
            let error = self.unavailable(
                "the server was started anew meanwhile: some may have got the message",
            );
            return self.fail(number, error);
        }
        if let (Call::Mailbox { call, .. }, Some(mail)) = (&asked.call, &self.mail) {
            asked.call = mail.call(*call, true);
        }
        let mut tell = None;
        let mut name = None;
        if let Call::Acquire(acquire) = &mut asked.call {
            let (id, site) = self.labels.site(asked.site);
            tell = site;
            name = self.labels.owner(acquire.owner);
            if let (Some(Wait::AtMost(wait)), Some(limit)) = (acquire.options.wait, asked.limit)
                && !wait.is_zero()
            {
                let left = limit.since(now).saturating_sub(LATER);
                acquire.options.wait = Some(Wait::AtMost(left));
            }
            acquire.site = id;
            acquire.waited = asked.sent.map_or(Duration::ZERO, |sent| now.since(sent));
        }
        asked.sent.get_or_insert(now);
        for label in [tell, name].into_iter().flatten() {
            self.transmit_at(now, &label);
        }
        let Some(asked) = self.unanswered.get_mut(&number).filter(|_| self.connection.is_some())
        else {
            return;
        };
        self.message.clear();
        asked.call.encode(&mut self.message);
        let longest = self.established.as_ref().map_or(usize::MAX, |it| it.max_frame);
        if self.message.len() + 32 > longest {
            let mend = if asked.is_acquisition() { ": ask for fewer keys at once" } else { "" };
            let length = self.message.len();
            let why = format!(
                "the request has {length} bytes, and the server takes {longest} at most{mend}"
            );
            asked.sent = None;
            let error = self.limit_exceeded(why);
            return self.fail(number, error);
        }
        let to = Some(&mut self.out);
        asked.not_before = (self.channel.send(&self.message, now, to), now);
    }

    /// Takes it off the books; what had come of it.
    pub(super) fn forget(&mut self, number: u64) -> Option<RequestOutcome> {
        self.take_unanswered(number).map(|asked| asked.outcome)
    }

    /// Takes an acquisition off the books that has become a hold; its keys, whom it was stolen
    /// from, and when its bound ends it.
    pub(super) fn take_granted(
        &mut self,
        number: u64,
    ) -> (Vec<String>, Vec<HolderInfo>, Option<Moment>) {
        let Some(asked) = self.take_unanswered(number) else { return Default::default() };
        match asked.call {
            Call::Acquire(acquire) => (acquire.keys, asked.stolen_from, asked.ends_at),
            _ => Default::default(),
        }
    }

    fn take_unanswered(&mut self, number: u64) -> Option<Box<Unanswered>> {
        let mut asked = self.unanswered.remove(&number)?;
        self.wakers.put_away(asked.waker.take());
        if let Some(deadline) = asked.deadline {
            self.deadlines.remove(&(deadline, number));
        }
        if let Some(lease) = asked.lease() {
            self.wanted.remove(lease);
        }
        if let Some(bound) = asked.bound() {
            self.wanted_bounds.remove(bound);
        }
        self.called -= usize::from(asked.called);
        Some(asked)
    }

    /// Wakes whoever waits for what is unanswered under this number.
    pub(super) fn call(&mut self, number: u64) {
        let Some(asked) = self.unanswered.get_mut(&number) else { return };
        if let Some(waker) = asked.waker.take() {
            self.called += usize::from(!std::mem::replace(&mut asked.called, true));
            self.wakers.wake([waker]);
        }
    }

    pub(super) fn fail(&mut self, number: u64, error: LockError) {
        let Some(asked) = self.unanswered.get(&number) else { return };
        // The server has counted from when it heard of the request.
        let waited = error.waited().map(|told| told.max(self.now().since(asked.asked)));
        let error = self.told_of(error, asked.site);
        let error = if let Some(waited) = waited { error.with_waited(waited) } else { error };
        let Some(asked) = self.unanswered.get_mut(&number) else { return };
        asked.outcome = RequestOutcome::Failed(error);
        self.call(number);
        self.set_deadline(number, None);
    }

    /// The error as the caller at `site` gets it.
    pub(super) fn told_of(&self, error: LockError, site: Option<CallSite>) -> LockError {
        let error = self.labels.here(self.realm(), error).with_backend(&*self.setup.name);
        match site {
            Some(site) => error.with_site(site),
            None => error,
        }
    }

    /// The time to reach the server counts from now, that to wait for others from when it was
    /// asked.
    pub(super) fn begin(&mut self, number: u64, call: Call, site: Option<CallSite>, asked: Moment) {
        let now = self.now();
        let limit = now.after(self.setup.connect);
        let reached_by = limit;
        let (limit, reach) = match &call {
            Call::Acquire(acquire) => match acquire.options.wait.unwrap_or_default() {
                Wait::Forever => (None, limit),
                // Not to wait is no reason not to ask.
                Wait::AtMost(Duration::ZERO) | Wait::Try => (Some(limit), limit),
                Wait::AtMost(wait) => {
                    (Some(asked.after(wait).after(LATER)), limit.min(asked.after(wait)))
                }
            },
            _ => (Some(limit), limit),
        };
        let open = self.is_open();
        let deadline = if open { limit } else { Some(reach) };
        let (sent, waker, called, outcome) = (None, None, false, RequestOutcome::None);
        if let Call::Acquire(acquire) = &call {
            self.wanted.extend(acquire.options.lease);
        }
        let unanswered = Unanswered {
            call,
            site,
            asked,
            limit,
            reach: reached_by,
            deadline,
            sent,
            not_before: (0, now),
            ends_at: None,
            waker,
            called,
            too_late: 0,
            stolen_from: Vec::new(),
            outcome,
        };
        self.wanted_bounds.extend(unanswered.bound());
        self.unanswered.insert(number, Box::new(unanswered));
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, number));
        }
        if open {
            self.ask(number, now);
        } else {
            self.deferred.push_back(Deferred::Ask(number));
        }
    }

    /// A number, if there is room for what it is for.
    pub(super) fn next_number(&mut self) -> Result<u64, LockError> {
        let (bytes, _) = self.channel.kept();
        if bytes > KEPT {
            let why = format!("{bytes} bytes wait for the server to take them");
            return Err(self.limit_exceeded(why));
        }
        let there = self.unanswered.len() + self.holds.len();
        if there.max(self.deferred.len()) >= REQUESTS {
            let why = format!(
                "this process has {there} locks and requests at the server, and {REQUESTS} are allowed: \
                 release some first"
            );
            return Err(self.limit_exceeded(why));
        }
        self.last_number += 1;
        Ok(self.last_number)
    }

    pub(super) fn leave_waker(&mut self, number: u64, waker: Option<&mut Waker>) {
        if let (Some(waker), Some(asked)) = (waker, self.unanswered.get_mut(&number)) {
            self.called -= usize::from(std::mem::take(&mut asked.called));
            leave(waker, &mut asked.waker);
        }
    }
}
