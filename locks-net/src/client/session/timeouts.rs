//! How long callers wait: for the server to be reached, and for its answers (C2, N7).

use locks_core::{ErrorKind, LockError, Moment, Wait};

use super::ClientSession;
use super::ask::{LATER, RequestOutcome, Unanswered};
use crate::wire::Call;

impl ClientSession {
    /// All that waits has a connection now: it waits as long as its callers say.
    pub(super) fn reached_server(&mut self) {
        // Who has waited enough meanwhile still hears what the server has to say.
        let least = self.now().after(LATER);
        let limits = self.unanswered.iter().filter(|(_, asked)| asked.deadline != asked.limit);
        let limits = limits.map(|(number, asked)| (*number, asked.limit.map(|it| it.max(least))));
        let limits = limits.collect::<Vec<_>>();
        for (number, limit) in limits {
            self.set_deadline(number, limit);
        }
    }

    /// The connection has ended: who waits for ever waits for one lease (N7).
    pub(super) fn left_alone(&mut self) {
        let now = self.now();
        let Some(established) = &mut self.established else { return };
        established.trust.disconnected();
        let until = now.after(established.trust.lease);
        let patient = self.unanswered.iter().filter(|(_, asked)| asked.wait() == Wait::Forever);
        let patient = patient.map(|it| *it.0).collect::<Vec<_>>();
        for number in patient {
            self.set_deadline(number, Some(until));
        }
    }

    /// Ends the waits whose time is up.
    pub(super) fn expire_asks(&mut self, now: Moment) {
        while let Some(&(deadline, number)) = self.deadlines.first()
            && deadline <= now
        {
            // Whatever it belongs to, it does not come up again.
            self.deadlines.remove(&(deadline, number));
            if let Some(asked) = self.unanswered.get_mut(&number) {
                asked.deadline = None;
            }
            if !self.expire_ending(number) {
                self.expire_ask(number, now);
            }
        }
    }

    fn expire_ask(&mut self, number: u64, now: Moment) {
        let open = self.is_open();
        let Some(asked) = self.unanswered.get(&number) else { return };
        let covered =
            |lease| self.established.as_ref().is_some_and(|it| it.trust.covers(lease, now));
        match (&asked.outcome, &asked.call) {
            (RequestOutcome::None | RequestOutcome::Partial(_), _) => {}
            // A grant that waits for its proof.
            (RequestOutcome::Granted(_), Call::Acquire(it)) if !covered(it.options.lease) => {}
            _ => return self.set_deadline(number, None),
        }
        let waited = now.since(asked.asked);
        let is_connected = open || self.connection.is_some();
        let is_new = !open && asked.sent.is_none();
        if is_new && (self.reaching || is_connected) && now < asked.reach {
            // Who allows less than it takes to reach a server has that time nevertheless.
            let reach = asked.reach;
            return self.set_deadline(number, Some(reach));
        }
        // Whether anybody is in the way is for the server to say, which has not (C2). Greetings are
        // answers as well.
        let error = if is_connected {
            let server = self.server.as_deref().unwrap_or("the server");
            self.without_answer(&format!("{server} is connected and does not answer"))
        } else {
            self.without_answer(self.unreached)
        };
        let error = error.with_key(asked.keys()).with_waited(waited);
        let known = asked.is_acquisition() && asked.sent.is_some();
        self.fail(number, error);
        if known {
            self.send_end_in_turn(number, now);
        }
    }

    /// The server was not reached: who has waited for as long as it wanted to has waited enough.
    pub(super) fn end_overdue(&mut self) {
        if self.is_open() {
            return;
        }
        let now = self.now();
        let is_overdue = |asked: &Unanswered| {
            let wait = match asked.wait() {
                Wait::AtMost(wait) => wait,
                Wait::Forever | Wait::Try => return false,
            };
            !wait.is_zero() && asked.sent.is_none() && asked.asked.after(wait) <= now
        };
        let overdue = self.unanswered.iter().filter(|(_, asked)| is_overdue(asked));
        for number in overdue.map(|it| *it.0).collect::<Vec<_>>() {
            self.set_deadline(number, Some(now));
        }
    }

    /// The server lets nobody new in, for good or for now: who has not been in is told.
    pub(crate) fn refuse_newcomers(&mut self, kind: ErrorKind, text: &str) {
        let newcomers = self.unanswered.iter().filter(|(_, it)| it.sent.is_none() && it.is_open());
        let newcomers = newcomers.map(|it| *it.0).collect::<Vec<_>>();
        for number in newcomers {
            let error = LockError::new(kind, self.unanswered[&number].keys());
            self.fail(number, error.with_message(text.to_owned()));
        }
    }

    /// The server has refused this client over a connection that is its own: if it does not let it
    /// go on with its session, nobody waits any more for what was said before. Leases are what they
    /// were.
    pub(crate) fn refuse(&mut self, kind: ErrorKind, text: &str) {
        self.refuse_newcomers(kind, text);
        if kind != ErrorKind::Unauthorized {
            return;
        }
        self.trouble = Some(text.to_owned());
        let asked = self.unanswered.iter().filter(|(_, it)| it.is_open());
        for number in asked.map(|it| *it.0).collect::<Vec<_>>() {
            let asked = &self.unanswered[&number];
            let known = asked.is_acquisition() && asked.sent.is_some();
            let error = LockError::new(ErrorKind::Unauthorized, asked.keys());
            self.fail(number, error.with_message(text.to_owned()));
            if known {
                // Should it be let in again after all.
                self.send_end_in_turn(number, self.now());
            }
        }
        let awaited = self.endings.iter().filter(|(_, ending)| ending.is_awaited());
        for request in awaited.map(|it| *it.0).collect::<Vec<_>>() {
            self.expire_ending(request);
        }
    }

    pub(super) fn set_deadline(&mut self, number: u64, deadline: Option<Moment>) {
        let Some(asked) = self.unanswered.get_mut(&number) else { return };
        if asked.deadline == deadline {
            return;
        }
        if let Some(before) = std::mem::replace(&mut asked.deadline, deadline) {
            self.deadlines.remove(&(before, number));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, number));
        }
    }
}
