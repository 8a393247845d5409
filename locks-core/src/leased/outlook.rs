//! What a request that waits knows of the store, and what there is to say when it gives up.

use std::time::Duration;

use super::note;
use crate::brief::{Brief, Left};
use crate::{EntryState, ErrorKind, LockError, Moment, Refusal, Wait};

/// The error, about this key, unless the store has said which it is about.
pub(super) fn about(key: &str, error: LockError) -> LockError {
    if error.key().is_empty() { error.with_key(key) } else { error }
}

pub(super) struct Outlook {
    begun: Moment,
    /// Whether it does not wait, but for an answer.
    pub(super) tries: bool,
    wait: Wait,
    deadline: Option<Moment>,
    /// When the store's first answer has to have come.
    first_answer_by: Moment,
    connect: Duration,
    /// How long the store may be silent once it has answered: a request that is known to queue
    /// outlasts an interruption of one lease.
    patience: Duration,
    word: Word,
    /// When the store last answered.
    heard: Moment,
    /// When the claim was sent that was refused last.
    sent: Moment,
    /// Since when it has been asked and has not answered, and the error of that, if there was one.
    unanswered: Option<(Moment, Option<LockError>)>,
}

/// What the store has said last.
enum Word {
    Nothing,
    Refused(Refusal),
    NotBefore(Moment),
}

impl Outlook {
    /// The outlook of a request that has `wait` left and has waited within the process before that.
    pub(super) fn new(
        begun: Moment,
        wait: Wait,
        waited: Duration,
        connect: Duration,
        lease: Duration,
    ) -> Self {
        let (deadline, reach) = match wait {
            // With no time left, whether or not there was any before, it is an answer that is
            // waited for.
            Wait::AtMost(Duration::ZERO) => (Some(begun), connect),
            Wait::AtMost(left) => {
                (Some(begun.after(left)), connect.min(left.saturating_add(waited)))
            }
            Wait::Forever | Wait::Try => (None, connect),
        };
        Self {
            begun,
            tries: matches!(wait, Wait::Try | Wait::AtMost(Duration::ZERO)),
            wait,
            deadline,
            first_answer_by: begun.after(reach),
            connect,
            patience: connect.max(lease),
            word: Word::Nothing,
            heard: begun,
            sent: begun,
            unanswered: None,
        }
    }

    /// When there is no more use in waiting for an answer.
    pub(super) fn limit(&self) -> Moment {
        match self.word {
            Word::Nothing => self.first_answer_by,
            _ => {
                // Silence counts from the question, which may come long after the last answer.
                let asked = self.unanswered.as_ref().map_or(self.heard, |(since, _)| *since);
                let silent_at = asked.after(self.patience);
                self.deadline.map_or(silent_at, |deadline| deadline.min(silent_at))
            }
        }
    }

    pub(super) fn asked(&mut self, now: Moment) {
        let is_first = matches!(self.word, Word::Nothing) && self.unanswered.is_none();
        if is_first && now >= self.first_answer_by {
            // The process did not run for all of its wait: no time is left, and an answer is waited
            // for.
            self.first_answer_by = now.after(self.connect);
        }
        self.unanswered.get_or_insert((now, None));
    }

    /// The store has refused what was `sent` then, which is when its times began to count at the
    /// latest.
    pub(super) fn refused(&mut self, refusal: Refusal, sent: Moment, now: Moment) {
        self.sent = sent;
        (self.word, self.heard, self.unanswered) = (Word::Refused(refusal), now, None);
    }

    pub(super) fn not_before(&mut self, at: Moment, now: Moment) {
        (self.word, self.heard, self.unanswered) = (Word::NotBefore(at), now, None);
    }

    /// The store has granted what was over by then, and is to be asked once more: that is another
    /// first answer.
    pub(super) fn granted_in_vain(&mut self, now: Moment) {
        (self.word, self.heard, self.unanswered) = (Word::Nothing, now, None);
        self.first_answer_by = now.after(self.connect);
    }

    pub(super) fn failed(&mut self, error: LockError) {
        if let Some((_, failure)) = &mut self.unanswered {
            *failure = Some(error);
        }
    }

    /// The error to give up with now, if it is time to.
    pub(super) fn verdict(&mut self, store: &str, key: &str, now: Moment) -> Option<LockError> {
        let late = self.deadline.is_some_and(|deadline| now >= deadline);
        let is_silent = match (&self.word, &self.unanswered) {
            (Word::Nothing, _) => now >= self.first_answer_by,
            (_, None) => false,
            (_, Some((since, _))) => {
                // An answer is overdue: it is the store that was waited for, and nobody knows
                // whether somebody has the key.
                late && now.since(*since) >= self.connect || now.since(*since) >= self.patience
            }
        };
        let error = match &self.word {
            _ if is_silent => self.unavailable(store, now),
            Word::Nothing => return None,
            _ if !late && !self.tries => return None,
            Word::Refused(refusal) => {
                let tried = self.wait == Wait::Try;
                let kind = if tried { ErrorKind::Contended } else { ErrorKind::Timeout };
                let in_the_way = &refusal.in_the_way;
                // Of several keys the error is about the first that is not to be had.
                let key = in_the_way.first().map_or(key, |entry| &entry.key);
                let about = |state| {
                    let entries = in_the_way.iter().filter(move |entry| entry.key == key);
                    entries.filter(move |entry| entry.state == state)
                };
                LockError::new(kind, key)
                    .with_holders(about(EntryState::Held).map(note::holder).collect())
                    .with_reserved_for(about(EntryState::Reserved).map(|at| at.ends_in).max())
            }
            Word::NotBefore(at) => {
                let left = at.since(now);
                let why = format!(
                    "`{store}` grants nothing for {}: it is new, or has lost what it had granted",
                    Left(left)
                );
                let error = LockError::new(ErrorKind::Unavailable, "").with_backend(store);
                error.with_message(why).with_until(left)
            }
        };
        Some(about(key, error).with_waited(now.since(self.begun)))
    }

    fn unavailable(&mut self, store: &str, now: Moment) -> LockError {
        match self.unanswered.take() {
            Some((_, Some(failure))) => failure,
            unanswered => {
                let since = unanswered.map_or(self.heard, |(since, _)| since);
                let why = format!("no answer within {}", Brief(now.since(since)));
                LockError::unavailable(store, why)
            }
        }
    }

    /// When to ask again: after `pause`, or sooner, if what is in the way ends or can be stolen
    /// before. `called`: the store tells those whom it has placed when it is their turn; they
    /// only keep their place, every `longest`.
    pub(super) fn look_again(
        &self,
        now: Moment,
        pause: impl FnOnce() -> Duration,
        called: Option<Duration>,
        steal_after: Option<Duration>,
    ) -> Moment {
        let at = match &self.word {
            Word::Refused(refusal) if self.unanswered.is_none() => {
                let due = refusal.in_the_way.iter().filter_map(|entry| {
                    let held = entry.state == EntryState::Held;
                    let due = steal_after.filter(|_| held)?.saturating_sub(entry.age?);
                    Some(due)
                });
                let (pause, ends) = match called.filter(|_| refusal.placed) {
                    // A hold that is granted meanwhile cannot be stolen before that.
                    Some(longest) => (steal_after.map_or(longest, |age| longest.min(age)), None),
                    None => (pause(), refusal.in_the_way.iter().map(|entry| entry.ends_in).min()),
                };
                let changes = due.chain(ends).chain(refusal.again_in);
                let changes = changes.filter(|change| !change.is_zero());
                changes.map(|change| self.sent.after(change)).fold(now.after(pause), Moment::min)
            }
            Word::NotBefore(at) if self.unanswered.is_none() => {
                // It may know better by then.
                (*at).min(now.after(self.patience))
            }
            _ => now.after(pause()),
        };
        match self.word {
            Word::Nothing => at.min(self.first_answer_by),
            _ => self.deadline.map_or(at, |deadline| deadline.min(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that is stopped, or has a busy machine, blames no store that it has not asked.
    #[test]
    fn c2_a_wait_that_is_over_before_the_store_was_asked_hears_its_answer() {
        let second = Duration::from_secs(1);
        let begun = Moment::from_nanos(0);
        let wait = Wait::AtMost(second);
        let mut outlook = Outlook::new(begun, wait, Duration::ZERO, second * 5, second * 9);
        let asked = begun.after(second * 3);
        outlook.asked(asked);
        assert_eq!(outlook.limit(), asked.after(second * 5));
        assert!(outlook.verdict("s:", "k", asked).is_none(), "it has only been asked");
        let mut answered = asked.after(second);
        outlook.refused(Refusal::new(Vec::new()), asked, answered);
        let error = outlook.verdict("s:", "k", answered).expect("its time is over");
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        // And a store that says nothing is blamed, once.
        let mut outlook = Outlook::new(begun, wait, Duration::ZERO, second * 5, second * 9);
        outlook.asked(asked);
        answered = asked.after(second * 5);
        outlook.asked(answered);
        let error = outlook.verdict("s:", "k", answered).expect("it is silent");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}
