//! What is sent at most, and what is taken at most.

use std::time::Duration;

use locks_core::{
    CallSite, DeadlockStep, ErrorKind, HolderInfo, LockError, LockInfo, MAX_KEY_LEN, Mode, Options,
    OwnerId, ProcessInfo, Query, Token, WaiterInfo,
};

use super::super::bytes::MessageReader;
use super::super::{
    Acquire, Call, Event, Greeting, How, MAX_CLIENT_GREETING, MAX_EVENT_FRAME, MAX_WITHIN,
    Malformed, Open, Opened, Resume,
};
use super::Message;

/// A frame's number, its acknowledgement and its tag.
const AROUND: usize = 8 + 8 + 16;

fn long() -> String {
    "é".repeat(2_500)
}

fn party() -> ProcessInfo {
    let mut party = ProcessInfo::default();
    (party.label, party.host, party.process) = (Some(long()), Some(long()), Some(long()));
    (party.pid, party.site) = (Some(7), Some(long()));
    party
}

fn holder() -> HolderInfo {
    let mut holder = HolderInfo::new(Mode::Permit { take: 1, of: 9 });
    holder.token = Some(Token::new(8));
    holder.owner = Some(OwnerId::from(7).in_realm(6));
    (holder.who, holder.party, holder.age) = (Some(long()), party(), Some(Duration::MAX));
    holder
}

fn waiter() -> WaiterInfo {
    let mut waiter = WaiterInfo::new(Mode::Permit { take: 9, of: 9 }, Duration::MAX);
    waiter.owner = Some(OwnerId::from(7).in_realm(6));
    (waiter.who, waiter.party) = (Some(long()), party());
    waiter
}

fn info() -> LockInfo {
    let mut info = LockInfo::new("k".repeat(MAX_KEY_LEN));
    (info.holders, info.waiters) = (vec![holder(); 70], vec![waiter(); 70]);
    (info.reserved_for, info.reserved_by) = (Some(Duration::MAX), vec![Token::new(1); 70]);
    info
}

fn plain(key: &str) -> Acquire {
    Acquire {
        request: 1,
        keys: vec![key.into()],
        options: Options::default(),
        owner: Some(OwnerId::from(1)),
        within: [OwnerId::from(1)].into_iter().collect(),
        opens_scope: false,
        site: 3,
        waited: Duration::ZERO,
        label: None,
        shared: None,
    }
}

#[test]
fn n2_a_plain_request_is_small() {
    let bytes = Call::Acquire(Box::new(plain("invoice:42"))).bytes();
    assert!(bytes.len() <= 40 + "invoice:42".len(), "{} bytes", bytes.len());
}

#[test]
fn n6_the_fullest_greeting_of_a_client_fits() {
    let resume = Resume { realm: 1, secret: [1; 16], server: [2; 16], received: 3 };
    let mut bytes = Vec::new();
    let open = Open { resume: Some(resume), party: party(), lease: Some(Duration::MAX) };
    open.encode(&mut bytes);
    assert!(bytes.len() + 16 <= MAX_CLIENT_GREETING, "{} bytes", bytes.len());
    assert_eq!(Open::decode(&bytes).unwrap().party.pid, Some(7));
}

#[test]
fn n2_what_is_said_by_leaving_it_out_is_said_no_other_way() {
    let refused = |change: fn(&mut Acquire), at_end: usize, why| {
        let mut acquire = plain("k");
        change(&mut acquire);
        let mut bytes = Call::Acquire(Box::new(acquire)).bytes();
        let zero = bytes.len() - at_end..;
        bytes[zero].fill(0);
        assert_eq!(Call::parse(&bytes).unwrap_err(), Malformed(why));
    };
    refused(|_| {}, 4, "call site 0 is none");
    let waited = |acquire: &mut Acquire| acquire.waited = Duration::from_secs(1);
    refused(waited, 8, "no time is said to have passed");
    let nobody_within = |acquire: &mut Acquire| acquire.site = 0;
    refused(nobody_within, 1 + 1 + 8, "none or too many enclosing identities");
}

#[test]
fn n2_greetings_that_contradict_themselves_are_refused() {
    let (mut how, lease) = (How::New, Duration::from_secs(10));
    for _ in 0..2 {
        let (realm, secret, max_frame) = (1, [1; 16], 4096);
        let opened = Opened { how, realm, secret, applied: 3, max_frame, lease, renews: true };
        let why = Malformed("frames were applied that cannot have been sent");
        assert_eq!(Opened::parse(&opened.bytes()).unwrap_err(), why);
        how = How::Restored;
    }
    let open = Open { resume: None, party: ProcessInfo::default(), lease: None };
    let mut bytes = open.bytes();
    // The flags of the party, and an empty site.
    *bytes.last_mut().unwrap() = 1 << 4;
    bytes.extend([0, 0]);
    let why = Malformed("a client as a whole is at no call site");
    assert_eq!(Open::parse(&bytes).unwrap_err(), why);
}

#[test]
fn n2_the_fullest_error_fits_a_frame_and_says_how_many_wait() {
    let cycle = vec![DeadlockStep::new("k".repeat(MAX_KEY_LEN), waiter(), holder()); 70];
    let error = LockError::new(ErrorKind::Deadlock, long())
        .with_message(long())
        .with_holders(vec![holder(); 70])
        .with_waiters(vec![waiter(); 70])
        .with_cycle(cycle)
        .with_token(Token::new(1))
        .with_waited(Duration::MAX)
        .with_reserved_for(Some(Duration::MAX));
    let bytes = Event::Refused { call: 1, error }.bytes();
    assert!(bytes.len() + AROUND <= MAX_EVENT_FRAME, "{} bytes", bytes.len());
    let Ok(Event::Refused { error, .. }) = Event::parse(&bytes) else { panic!("{bytes:?}") };
    assert_eq!(error.waiting(), 70);
    assert_eq!((error.holders().len(), error.waiters().len(), error.cycle().len()), (64, 64, 32));
    assert_eq!(error.waited(), Some(Duration::from_nanos(u64::MAX)));
}

#[test]
fn n2_a_long_list_goes_on_in_further_frames() {
    for (infos, events) in [(vec![], 1..=1), (vec![info()], 1..=2), (vec![info(); 10], 2..=20)] {
        let parts = Event::listed(5, infos.clone(), usize::MAX);
        assert!(events.contains(&parts.len()), "{}", parts.len());
        let holders = |infos: &[LockInfo]| infos.iter().map(|it| it.holders.len()).sum::<usize>();
        let mut listed = 0;
        for (index, part) in parts.iter().enumerate() {
            let bytes = part.bytes();
            assert!(bytes.len() + AROUND <= MAX_EVENT_FRAME, "{} bytes", bytes.len());
            let Ok(Event::Listed { call: 5, infos, more }) = Event::parse(&bytes) else {
                panic!("{part:?}")
            };
            assert_eq!(more, index + 1 < parts.len());
            listed += holders(&infos);
        }
        assert_eq!(listed, holders(&infos), "all of them");
    }
}

#[test]
fn n2_only_the_innermost_identities_are_sent() {
    let mut acquire = plain("k");
    acquire.within = (0..100).map(OwnerId::from).collect();
    let Ok(Call::Acquire(sent)) = Call::parse(&Call::Acquire(Box::new(acquire)).bytes()) else {
        panic!("not decoded")
    };
    assert_eq!(*sent.within, *(0..MAX_WITHIN as u64).map(OwnerId::from).collect::<Vec<_>>());
}

#[test]
fn n2_a_query_that_is_cut_still_matches_nothing() {
    let query = Query::Prefix("k".repeat(100_000));
    let Ok(Call::Inspect { query, .. }) = Call::parse(&Call::Inspect { call: 1, query }.bytes())
    else {
        panic!("not decoded")
    };
    assert!(!query.matches(&"k".repeat(MAX_KEY_LEN)));
}

#[test]
fn c1_what_cannot_be_a_key_is_not_taken_for_another() {
    for key in ["", "a\0b", &"k".repeat(MAX_KEY_LEN + 1), &"k".repeat(100_000)] {
        assert!(Call::parse(&Call::Acquire(Box::new(plain(key))).bytes()).is_err(), "{key:?}");
        let evict = Call::Evict { call: 1, key: key.into(), token: Token::new(1) };
        assert!(Call::parse(&evict.bytes()).is_err(), "{key:?}");
    }
}

#[test]
fn c11_keys_are_refused_that_are_not_ascending() {
    for keys in [vec![], vec!["a", "a"], vec!["b", "a"]] {
        let mut acquire = plain("k");
        acquire.keys = keys.iter().copied().map(str::to_owned).collect();
        assert!(Call::parse(&Call::Acquire(Box::new(acquire)).bytes()).is_err(), "{keys:?}");
    }
}

#[test]
fn c16_no_permits_at_all_are_refused() {
    let mut acquire = plain("k");
    acquire.options.mode = Mode::Permit { take: 1, of: 0 };
    assert!(Call::parse(&Call::Acquire(Box::new(acquire)).bytes()).is_err());
}

#[test]
fn n2_a_list_that_its_message_has_no_room_for_is_not_begun() {
    for count in [2, 1 << 20, u32::MAX] {
        let bytes = [&count.to_le_bytes()[..], &[0; 15]].concat();
        let list = MessageReader::new(&bytes)
            .list(usize::MAX, 8, |_| -> Result<u8, Malformed> { panic!("an item was looked for") });
        assert!(list.is_err(), "{count}");
    }
}

#[test]
fn c12_a_call_site_is_sent_as_text() {
    let site = CallSite::caller();
    let mut holder = HolderInfo::new(Mode::Shared);
    holder.site = Some(site);
    holder.party.site = Some("elsewhere".into());
    let error = LockError::new(ErrorKind::Contended, "k").with_holders(vec![holder]);
    let Ok(Event::Refused { error, .. }) = Event::parse(&Event::Refused { call: 1, error }.bytes())
    else {
        panic!("not decoded")
    };
    let [holder] = error.holders() else { panic!("{error:?}") };
    assert!(holder.site.is_none());
    assert_eq!(holder.party.site, Some(site.to_string()));
}

#[test]
fn c12_what_lies_behind_an_error_is_told_in_words() {
    let behind = || std::io::Error::other("the disk is full");
    let sent = |error| match Event::parse(&Event::Refused { call: 1, error }.bytes()) {
        Ok(Event::Refused { error, .. }) => error.message().map(str::to_owned),
        other => panic!("{other:?}"),
    };
    let contended = LockError::new(ErrorKind::Contended, "k");
    let said = "`k` is held by somebody else: the disk is full";
    assert_eq!(sent(contended.with_source(behind())).as_deref(), Some(said));
    let io = || LockError::new(ErrorKind::Io, "");
    let said = io().with_source(behind()).to_string();
    assert_eq!(sent(io().with_source(behind())), Some(said), "once is enough");
    let error = io().with_message("no record was written").with_source(behind());
    assert_eq!(sent(error).as_deref(), Some("no record was written: the disk is full"));
    assert_eq!(sent(io()), None);
}
