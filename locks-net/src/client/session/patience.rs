//! How long callers wait: for the server to be reached, and for its answers (C2, N7).

use locks_core::{ErrorKind, LockError, Moment, Wait};

use super::Session;
use super::ask::Outcome;
use crate::wire::Call;

impl Session {
    /// All that waits has a connection now: it waits as long as its callers say.
    pub(super) fn reached_server(&mut self) {
        let limits = self.unanswered.iter().filter(|(_, asked)| asked.deadline != asked.limit);
        let limits = limits.map(|(number, asked)| (*number, asked.limit)).collect::<Vec<_>>();
        for (number, limit) in limits {
            self.set_deadline(number, limit);
        }
    }

    /// The connection has ended: who waits for ever waits for one lease (N7).
    pub(super) fn left_alone(&mut self) {
        let now = self.now();
        let Some(life) = &mut self.life else { return };
        life.trust.disconnected();
        let until = now.after(life.trust.lease);
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
        let covered = |lease| self.life.as_ref().is_some_and(|it| it.trust.covers(lease, now));
        match (&asked.outcome, &asked.call) {
            (Outcome::None | Outcome::Partial(_), _) => {}
            // A grant that waits for its proof.
            (Outcome::Granted(_, None), Call::Acquire(it)) if !covered(it.options.lease) => {}
            _ => return self.set_deadline(number, None),
        }
        let waited = now.since(asked.asked);
        let error = match (open, asked.wait()) {
            (true, Wait::AtMost(_)) => LockError::new(ErrorKind::Timeout, ""),
            // Greetings are answers as well.
            (open, _) if open || self.connection.is_some() => {
                let server = self.server.as_deref().unwrap_or("the server");
                self.without_answer(&format!("{server} is connected and does not answer"))
            }
            _ => self.without_answer("the server was not reached in time"),
        };
        let error = error.with_key(asked.keys()).with_waited(waited);
        let known = asked.is_acquisition() && asked.sent.is_some();
        self.fail(number, error);
        if known {
            self.send_end_in_turn(number, now);
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
