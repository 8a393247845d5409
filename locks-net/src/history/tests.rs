//! Small histories, most of which must not be.

use std::time::Duration;

use locks_core::{ErrorKind, LostCause, Mode, Moment, Token};

use super::{Ask, Entry, Id, KeptBy, What, check};

const LEASE: Duration = Duration::from_secs(1);

/// A history that is being told, a millisecond for each entry unless said otherwise.
struct Told {
    now: Moment,
    entries: Vec<Entry>,
}

fn told() -> Told {
    let mut told = Told { now: Moment::from_nanos(0), entries: Vec::new() };
    for (client, kept) in [(1, KeptBy::Lease), (2, KeptBy::Lease), (3, KeptBy::Process)] {
        told.push(What::Joined { client, kept, lease: LEASE });
        told.push(What::Opened { client, session: client });
    }
    told
}

impl Told {
    fn push(&mut self, what: What) -> &mut Self {
        self.now = self.now.after(Duration::from_millis(1));
        self.entries.push(Entry { at: self.now, what });
        self
    }

    fn after(&mut self, millis: u64) -> &mut Self {
        self.now = self.now.after(Duration::from_millis(millis));
        self
    }

    fn asked(&mut self, it: Id, change: impl FnOnce(&mut Ask)) -> &mut Self {
        let mut ask = Ask {
            keys: vec!["k".into()],
            mode: Mode::Exclusive,
            shared: None,
            owner: None,
            reentrant: false,
            steal_after: None,
            at_least: None,
            at_most: None,
            lease: LEASE,
        };
        change(&mut ask);
        self.push(What::Asked { it, ask })
    }

    fn given(&mut self, it: Id, token: u64) -> &mut Self {
        self.push(What::Given { it, keys: vec![("k".into(), Token::new(token), false)] })
    }

    fn granted(&mut self, it: Id, token: u64) -> &mut Self {
        self.push(What::Granted { it, token: Token::new(token) })
    }

    /// Asked, given and granted.
    fn has(&mut self, it: Id, token: u64) -> &mut Self {
        self.asked(it, |_| {}).given(it, token).granted(it, token)
    }

    fn releases(&mut self, it: Id) -> &mut Self {
        self.push(What::Released { it }).push(What::Taken { it, cause: None })
    }

    fn lost(&mut self, it: Id, cause: LostCause) -> &mut Self {
        self.push(What::Lost { it, cause })
    }

    fn is_fine(&self) {
        if let Err(violation) = check(&self.entries) {
            panic!("{violation}");
        }
    }

    /// The last entry, and none before it, must not be.
    #[track_caller]
    fn is_wrong(&self, why: &str) {
        match check(&self.entries) {
            Ok(()) => panic!("nothing was found wrong"),
            Err(violation) => {
                assert!(violation.why.contains(why), "{violation}");
                assert_eq!(violation.index, self.entries.len() - 1, "{violation}");
            }
        }
    }
}

const fn id(client: u32, request: u64) -> Id {
    Id { client, request }
}

#[test]
fn one_after_the_other_is_fine() {
    let mut told = told();
    told.has(id(1, 1), 1).releases(id(1, 1)).push(What::Confirmed { it: id(1, 1) });
    told.has(id(2, 1), 2).releases(id(2, 1)).push(What::Finished { live_keys: 0, sessions: 0 });
    told.is_fine();
}

#[test]
fn c1_two_who_hold_one_key_are_found() {
    let mut told = told();
    told.has(id(1, 1), 1).has(id(2, 1), 2).is_wrong("both hold `k`");
}

#[test]
fn c1_readers_do_not_exclude_each_other_but_a_writer() {
    let mut told = told();
    for (client, token) in [(1, 1), (2, 2)] {
        told.asked(id(client, 1), |ask| ask.mode = Mode::Shared).given(id(client, 1), token);
        told.granted(id(client, 1), token);
    }
    told.is_fine();
    told.has(id(3, 1), 3).is_wrong("both hold `k`");
}

#[test]
fn c16_one_permit_too_many_is_found() {
    let mut told = told();
    for client in [1, 2, 3] {
        told.asked(id(client, 1), |ask| ask.mode = Mode::Permit { take: 1, of: 2 });
        told.given(id(client, 1), client.into()).granted(id(client, 1), client.into());
    }
    told.is_wrong("one of 2 permits");
}

/// Also if the clients hear of their grants in another order than they were made.
#[test]
fn c16_each_permit_obeys_the_number_that_it_was_asked_for() {
    let granted = |last: u32| {
        let mut told = told();
        let number = |client| if client == 3 { last } else { client };
        for client in [1, 2, 3] {
            told.asked(id(client, 1), |ask| {
                ask.mode = Mode::Permit { take: 1, of: number(client) }
            });
            told.given(id(client, 1), client.into());
        }
        for client in [2, 3, 1] {
            told.granted(id(client, 1), client.into());
        }
        told
    };
    granted(3).is_fine();
    granted(2).is_wrong("one of 2 permits");
}

#[test]
fn c9_guards_of_one_nest_are_one() {
    let mut told = told();
    told.asked(id(1, 1), |ask| ask.owner = Some(7)).given(id(1, 1), 1).granted(id(1, 1), 1);
    let nested = |ask: &mut Ask| (ask.owner, ask.reentrant) = (Some(7), true);
    told.asked(id(1, 2), nested);
    let keys = vec![("k".into(), Token::new(1), true)];
    told.push(What::Given { it: id(1, 2), keys }).granted(id(1, 2), 1).is_fine();
}

#[test]
fn c6_a_victim_may_not_have_heard_but_hears_within_its_lease() {
    let mut told = told();
    told.has(id(1, 1), 1).after(500);
    told.asked(id(2, 1), |ask| ask.steal_after = Some(Duration::from_millis(100)));
    told.push(What::Taken { it: id(1, 1), cause: Some(LostCause::Stolen) });
    told.given(id(2, 1), 2).granted(id(2, 1), 2).is_fine();
    told.after(500).push(What::Held { it: id(1, 1) }).is_fine();
    told.after(500).push(What::Held { it: id(1, 1) }).is_wrong("more than its lease ago");
}

#[test]
fn c6_a_theft_needs_a_thief_whose_time_has_come() {
    let mut told = told();
    told.has(id(1, 1), 1).after(50);
    told.asked(id(2, 1), |ask| ask.steal_after = Some(Duration::from_millis(100)));
    told.push(What::Taken { it: id(1, 1), cause: Some(LostCause::Stolen) }).is_wrong("by nobody");
}

#[test]
fn c6_a_refreshed_hold_is_young() {
    let mut told = told();
    told.has(id(1, 1), 1).after(50).push(What::Refreshed { it: id(1, 1) }).after(80);
    told.asked(id(2, 1), |ask| ask.steal_after = Some(Duration::from_millis(100)));
    told.push(What::Taken { it: id(1, 1), cause: Some(LostCause::Stolen) }).is_wrong("by nobody");
}

#[test]
fn c7_a_token_is_never_granted_again() {
    let mut told = told();
    told.has(id(1, 1), 5).releases(id(1, 1));
    told.asked(id(2, 1), |_| {}).given(id(2, 1), 5).is_wrong("gets Token(5)");
}

#[test]
fn c7_tokens_grow_across_a_new_start_of_the_machine() {
    let mut told = told();
    told.has(id(1, 1), 5).push(What::Rebooted).push(What::Stands { alive: vec![] });
    told.asked(id(2, 1), |_| {}).given(id(2, 1), 1).is_wrong("after Token(5)");
}

#[test]
fn c8_a_stopped_process_may_believe_until_it_looks() {
    let mut told = told();
    told.has(id(1, 1), 1).push(What::Paused { client: 1 }).after(2000);
    told.push(What::Taken { it: id(1, 1), cause: None });
    told.has(id(2, 1), 2).push(What::Resumed { client: 1 }).is_fine();
    told.push(What::Held { it: id(1, 1) }).is_wrong("is found held");
}

#[test]
fn n1_a_stopped_process_of_this_machine_loses_nothing() {
    let mut told = told();
    told.has(id(3, 1), 1).push(What::Paused { client: 3 }).after(5000);
    told.push(What::Taken { it: id(3, 1), cause: None }).is_wrong("had been silent for 0ns");
}

#[test]
fn n1_a_session_is_not_ended_before_its_lease() {
    let mut told = told();
    told.has(id(1, 1), 1).push(What::Arrived { client: 1 }).after(900);
    told.push(What::Taken { it: id(1, 1), cause: None }).is_wrong("had been silent");
}

#[test]
fn n1_a_waiter_is_not_taken_for_gone_before_its_lease() {
    let mut told = told();
    told.asked(id(1, 1), |_| {}).push(What::Arrived { client: 1 }).after(900);
    told.push(What::Over { client: 1, session: 1 }).is_wrong("had been silent");
}

#[test]
fn n1_a_session_that_is_silent_for_its_lease_ends() {
    let mut told = told();
    told.has(id(1, 1), 1).push(What::Arrived { client: 1 });
    told.after(900).lost(id(1, 1), LostCause::Expired);
    told.after(100).push(What::Taken { it: id(1, 1), cause: None }).is_fine();
}

#[test]
fn c8_nothing_is_lost_by_who_is_connected() {
    let mut told = told();
    told.has(id(3, 1), 1)
        .lost(id(3, 1), LostCause::Expired)
        .is_wrong("while its client was connected");
}

#[test]
fn c8_a_loss_that_the_server_does_not_know_of_is_found() {
    let mut told = told();
    told.has(id(1, 1), 1).lost(id(1, 1), LostCause::Stolen).is_wrong("hears of Stolen");
}

#[test]
fn c14_a_reserved_key_is_not_granted() {
    let mut told = told();
    told.asked(id(1, 1), |ask| ask.at_least = Some(Duration::from_secs(1)));
    told.given(id(1, 1), 1).granted(id(1, 1), 1).after(100).releases(id(1, 1));
    told.asked(id(2, 1), |_| {}).given(id(2, 1), 2).is_wrong("which is reserved");
}

#[test]
fn n4_a_grant_is_written_down_before_it_is_known() {
    let mut told = told();
    told.asked(id(1, 1), |_| {}).granted(id(1, 1), 1).is_wrong("not written down");
}

#[test]
fn n4_a_release_is_written_down_before_it_is_known() {
    let mut told = told();
    told.has(id(1, 1), 1).push(What::Released { it: id(1, 1) });
    told.push(What::Confirmed { it: id(1, 1) }).is_wrong("which is not written down");
}

#[test]
fn n4_what_had_ended_does_not_come_back() {
    let mut told = told();
    told.has(id(1, 1), 1).releases(id(1, 1)).push(What::Crashed);
    told.push(What::Stands { alive: vec![id(1, 1)] }).is_wrong("is back");
}

#[test]
fn n4_what_was_held_is_not_forgotten() {
    let mut told = told();
    told.has(id(1, 1), 1).push(What::Crashed);
    told.push(What::Stands { alive: vec![] }).is_wrong("does not know of it");
}

#[test]
fn c2_every_request_comes_to_an_end() {
    let mut told = told();
    told.asked(id(1, 1), |_| {});
    told.push(What::Quiet { sessions: 3 }).is_wrong("never come to an end");
}

#[test]
fn c2_a_request_comes_to_one_end() {
    let mut told = told();
    told.has(id(1, 1), 1);
    told.push(What::Refused { it: id(1, 1), why: ErrorKind::Timeout }).is_wrong("a second end");
}

#[test]
fn c5_a_hold_that_nobody_knows_of_is_found() {
    let mut told = told();
    told.asked(id(1, 1), |_| {}).push(What::GivenUp { it: id(1, 1) }).given(id(1, 1), 1);
    told.push(What::Quiet { sessions: 3 }).is_wrong("held in the end, by nobody");
}

#[test]
fn c13_keys_left_behind_are_found() {
    told().push(What::Finished { live_keys: 1, sessions: 0 }).is_wrong("1 keys are left behind");
}

#[test]
fn n6_sessions_left_behind_are_found() {
    told().push(What::Finished { live_keys: 0, sessions: 1 }).is_wrong("1 sessions are left");
}

#[test]
fn n1_sessions_of_nobody_are_found() {
    told().push(What::Quiet { sessions: 4 }).is_wrong("4 sessions are left, and 3 clients");
}

#[test]
fn c4_a_release_says_that_the_hold_was_lost() {
    let mut told = told();
    told.has(id(1, 1), 1).push(What::Evicting { key: "k".into(), token: Token::new(1) });
    told.push(What::Taken { it: id(1, 1), cause: Some(LostCause::Evicted) });
    told.push(What::Released { it: id(1, 1) });
    told.push(What::Confirmed { it: id(1, 1) }).is_wrong("and had been taken away");
}
