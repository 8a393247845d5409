//! What is left of a journal that was cut off or damaged (FAULTS 15).

use proptest::prelude::*;

use super::history::histories;
use super::*;

/// Where each record ends, and the state by then; the empty journal first.
fn prefixes(records: &[Record]) -> Vec<(usize, Vec<Record>)> {
    let (mut ledger, mut bytes) = (Ledger::default(), Vec::new());
    let mut prefixes = vec![(0, Vec::new())];
    for record in records {
        record.encode(&mut bytes);
        ledger.apply(record.clone()).unwrap();
        prefixes.push((bytes.len(), state(&ledger)));
    }
    prefixes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    /// FAULTS 15: wherever a journal is cut off, what was written in full before that counts.
    #[test]
    fn n4_a_journal_torn_at_any_byte_gives_the_state_before_the_tear(rounds in histories(12)) {
        let records = rounds.concat();
        let (bytes, prefixes) = (encode(&records), prefixes(&records));
        for cut in 0..=bytes.len() {
            let (ledger, len) = Ledger::read(&bytes[..cut]).unwrap();
            let (end, expected) = prefixes.iter().rev().find(|(end, _)| *end <= cut).unwrap();
            prop_assert_eq!(len, *end);
            prop_assert_eq!(&state(&ledger), expected);
        }
    }

    /// FAULTS 15: a file can have been made longer than what came to be written.
    #[test]
    fn n4_zeros_at_the_end_are_no_records(rounds in histories(12), zeros in 1usize..300) {
        let records = rounds.concat();
        let (bytes, prefixes) = (encode(&records), prefixes(&records));
        for cut in 0..=bytes.len() {
            let mut bytes = bytes.clone();
            bytes[cut..].fill(0);
            bytes.resize(bytes.len() + zeros, 0);
            let (ledger, len) = Ledger::read(&bytes).unwrap();
            let (_, expected) = prefixes.iter().find(|(end, _)| *end == len).unwrap();
            prop_assert_eq!(&state(&ledger), expected);
            // Zeros that were written as such are not missed.
            let next = prefixes.iter().find(|(end, _)| *end > len);
            prop_assert!(next.is_none_or(|(end, _)| *end > cut));
        }
    }

    /// FAULTS 15: a damaged byte is found, wherever it is; only the last record can be taken for
    /// one that was not written in full.
    #[test]
    fn n4_no_damaged_byte_passes(rounds in histories(12), mask in 1u8..) {
        let records = rounds.concat();
        let (bytes, prefixes) = (encode(&records), prefixes(&records));
        let last = &prefixes[prefixes.len() - 2];
        for index in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[index] ^= mask;
            match Ledger::read(&bytes) {
                Err(corrupt) => {
                    let (begin, _) = prefixes.iter().rev().find(|(end, _)| *end <= index).unwrap();
                    prop_assert_eq!(corrupt.offset, *begin);
                }
                Ok((ledger, len)) => {
                    prop_assert!(index >= last.0, "byte {} of {}", index, bytes.len());
                    prop_assert_eq!(len, last.0);
                    prop_assert_eq!(&state(&ledger), &last.1);
                }
            }
        }
    }
}

#[test]
fn n4_every_record_is_read_as_it_was_written() {
    let mut all = member("ä/b", 1 << 40);
    all.mode = Mode::Permit { take: u32::MAX, of: u32::MAX };
    (all.reserved_until, all.ends_at) = (Some(at(u64::MAX)), Some(at(0)));
    let mut none = member("c", u64::MAX);
    (none.owner, none.site, none.since) = (None, None, None);
    none.mode = Mode::Shared;
    let reserved = |mode| Reserved { key: "r".into(), mode, token: Token::new(5), until: at(9) };
    let mut records = vec![
        session(0),
        session(1),
        Record::Gone { realm: u32::MAX },
        grant(3, u64::MAX, [all, none]),
        released(1, 2, 3),
        Record::Refreshed { realm: 1, request: 2, at: at(3) },
        Record::Disowned { realm: 1, request: 2 },
        Record::Reserved(reserved(Mode::Exclusive)),
        Record::Freed { key: "r".into(), token: Token::new(5) },
    ];
    let causes = [
        LostCause::Stolen,
        LostCause::HeldTooLong,
        LostCause::Expired,
        LostCause::Evicted,
        LostCause::SessionEnded,
        LostCause::Replaced,
        LostCause::Forgotten,
    ];
    records.extend(causes.map(|cause| taken(1, 2, cause, 3)));
    let bytes = encode(&records);
    let mut read = Records::new(&bytes);
    for record in &records {
        assert_eq!(read.next().unwrap().as_ref(), Some(record));
    }
    assert_eq!(read.next(), Ok(None));
    assert_eq!(read.offset(), bytes.len());
}

#[test]
fn n4_a_secret_is_not_shown() {
    let shown = format!("{:?}", session(77));
    assert!(!shown.contains("77, 77") && !shown.contains("secret"), "{shown}");
}

#[test]
fn n4_what_does_not_follow_is_refused_where_it_stands() {
    let first = session(1);
    let twice = || [grant(1, 5, [member("a", 1)]), grant(1, 5, [member("b", 2)])];
    let token = || [grant(1, 5, [member("a", 1)]), grant(1, 6, [member("a", 1)])];
    let order = [grant(1, 5, [member("b", 1), member("a", 1)]), first.clone()];
    let empty = [grant(1, 5, []), first.clone()];
    let holds = [grant(1, 5, [member("a", 1)]), Record::Gone { realm: 1 }];
    let mut other = session(1);
    if let Record::Session(other) = &mut other {
        other.secret = [9; 16];
    }
    let cases: [(&str, Vec<Record>); 9] = [
        ("there is no such session", vec![grant(2, 5, [member("a", 1)])]),
        ("there is no such session", vec![released(2, 5, 1)]),
        ("there is no such session", vec![Record::Gone { realm: 2 }]),
        ("a request was granted twice", twice().into()),
        ("a token was granted twice", token().into()),
        ("the keys of a guard are out of order", order.into()),
        ("a guard has no keys", empty.into()),
        ("a session is over that still holds something", holds.into()),
        ("a session has the number of one that is not over", vec![other]),
    ];
    for (why, records) in cases {
        let bytes = encode([&first].into_iter().chain(&records));
        let corrupt = Ledger::read(&bytes).unwrap_err();
        assert_eq!(corrupt.why, why);
        assert!(corrupt.offset > 0 && corrupt.offset < bytes.len(), "{corrupt}");
    }
}
