//! Histories as a server might write them.

use locks_core::{LostCause, Mode, Token};
use proptest::prelude::*;

use super::*;

/// What happened, in rounds that a server writes at once.
pub(super) fn histories(rounds: usize) -> impl Strategy<Value = Vec<Vec<Record>>> {
    prop::collection::vec(any::<(u8, u16, u16)>(), 1..rounds).prop_map(|choices| {
        let mut writer = Historian::default();
        choices.into_iter().map(|(what, a, b)| writer.round(what, a.into(), b.into())).collect()
    })
}

#[derive(Default)]
struct Historian {
    ledger: Ledger,
    now: u64,
    last: u64,
}

impl Historian {
    fn round(&mut self, what: u8, a: usize, b: usize) -> Vec<Record> {
        self.now += 10 + b as u64 % 7;
        let mut records = self.records(what, a, b);
        for record in &records {
            self.ledger.apply(record.clone()).unwrap();
        }
        if records.is_empty() {
            records.push(session(u32::try_from(self.last).unwrap() + 1000));
            self.ledger.apply(records[0].clone()).unwrap();
        }
        records
    }

    fn records(&mut self, what: u8, a: usize, b: usize) -> Vec<Record> {
        let (sessions, guards, reserved) = self.ledger.clone().into_parts();
        let sessions = sessions.into_iter().map(|(session, _)| session).collect::<Vec<_>>();
        let guard = pick(&guards, a);
        let named = guard.map(|guard| (guard.realm, guard.request));
        self.last += 1;
        match what % 14 {
            0 => vec![session(u32::try_from(a % 4).unwrap())],
            1 => {
                let idle =
                    |session: &&SessionRecord| guards.iter().all(|g| g.realm != session.realm);
                let idle = sessions.iter().find(idle);
                idle.map(|session| Record::Gone { realm: session.realm }).into_iter().collect()
            }
            2..6 => self.fresh(pick(&sessions, a), b),
            6 | 7 => self.within(guard, pick(&sessions, b), a),
            8 | 9 => named
                .map(|(realm, request)| released(realm, request, self.now))
                .into_iter()
                .collect(),
            10 => self.revoked(guard, &guards, b),
            11 => {
                let Some((realm, request)) = named else { return Vec::new() };
                let at = at(self.now);
                vec![Record::Refreshed { realm, request, at }, Record::Disowned { realm, request }]
            }
            12 => {
                let done = named.map(|(realm, request)| Record::Done { realm, request });
                done.into_iter().collect()
            }
            _ => {
                let freed =
                    pick(&reserved, a).map(|reserved| (reserved.key.clone(), reserved.token));
                freed.map(|(key, token)| Record::Freed { key, token }).into_iter().collect()
            }
        }
    }

    /// One key or two for somebody new.
    fn fresh(&self, session: Option<&SessionRecord>, b: usize) -> Vec<Record> {
        let Some(session) = session else { return Vec::new() };
        let mut members =
            vec![self.member("a", b), self.member("b", b / 2), self.member("c", b / 3)];
        members.rotate_left(b % 3);
        members.truncate(1 + b % 2);
        members.sort_by(|x, y| x.key.cmp(&y.key));
        vec![grant(session.realm, self.last, members)]
    }

    /// Nested in one key of a guard, and perhaps a key more.
    fn within(
        &self,
        guard: Option<&Grant>,
        session: Option<&SessionRecord>,
        a: usize,
    ) -> Vec<Record> {
        let (Some(guard), Some(session)) = (guard, session) else { return Vec::new() };
        let Some(around) = pick(&guard.members, a) else { return Vec::new() };
        let mode = if a.is_multiple_of(3) { Mode::Exclusive } else { Mode::Shared };
        // A set has a token of its own, and so has an upgrade.
        let is_set = a.is_multiple_of(2) && around.key != "z";
        let own = is_set || a.is_multiple_of(5);
        let token = if own { Token::new(self.last) } else { around.token };
        let mut members = vec![Member { nested: true, mode, token, ..around.clone() }];
        if is_set {
            members.push(self.member("z", a));
        }
        vec![grant(session.realm, self.last, members)]
    }

    /// All guards of one hold at once.
    fn revoked(&self, guard: Option<&Grant>, guards: &[Grant], b: usize) -> Vec<Record> {
        let Some(member) = guard.and_then(|guard| pick(&guard.members, b)) else {
            return Vec::new();
        };
        let causes = [LostCause::Stolen, LostCause::Expired, LostCause::Evicted];
        let is_it = |other: &Member| other.key == member.key && other.outer == member.outer;
        let lost = guards.iter().filter(|guard| guard.members.iter().any(is_it));
        let cause = causes[b % causes.len()];
        lost.map(|guard| taken(guard.realm, guard.request, cause, self.now)).collect()
    }

    fn member(&self, key: &str, b: usize) -> Member {
        let mode = [Mode::Exclusive, Mode::Shared, Mode::Permit { take: 2, of: 3 }][b % 3];
        let since = (!b.is_multiple_of(5)).then_some(at(self.now));
        let reserved_until = (b.is_multiple_of(2)).then_some(at(self.now + b as u64 % 100));
        let site = (b.is_multiple_of(4)).then(|| "src/é.rs:1".to_owned());
        let if_done = b.is_multiple_of(3);
        Member { mode, since, reserved_until, site, if_done, ..member(key, self.last) }
    }
}

fn pick<T>(from: &[T], at: usize) -> Option<&T> {
    from.get(at.checked_rem(from.len())?)
}

/// When all of a history is over.
const LATER: u64 = 1 << 40;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    /// N4: a journal that was compacted goes on like the one that was not.
    #[test]
    fn n4_compaction_keeps_the_state(rounds in histories(60), cut in 0usize..60) {
        let cut = cut.min(rounds.len());
        let (before, after) = rounds.split_at(cut);
        let mut long = ledger(before.concat());
        let mut short = ledger(long.records(at(0)));
        prop_assert_eq!(state(&long), state(&short));
        for record in after.concat() {
            long.apply(record.clone()).unwrap();
            short.apply(record).unwrap();
        }
        prop_assert_eq!(state(&long), state(&short));
    }

    /// N4: nothing of what is over is written again.
    #[test]
    fn n4_a_snapshot_has_what_lives_and_no_more(rounds in histories(60)) {
        let ledger = ledger(rounds.concat());
        let (sessions, guards, reserved) = ledger.clone().into_parts();
        let all = state(&ledger);
        let lost = sessions.iter().map(|(_, lost)| lost.len()).sum::<usize>();
        let kept = sessions.len() + lost + guards.len();
        prop_assert_eq!(all.len(), kept + reserved.len());
        let later = ledger.records(at(LATER));
        prop_assert_eq!(later.len(), kept);
        prop_assert!(guards.is_sorted_by_key(|guard| guard.request), "in the order of their grants");
    }
}
