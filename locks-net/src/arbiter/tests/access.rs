//! What clients of different names and namespaces learn of each other (N5): nothing.

use locks_core::{ErrorKind, LockError, Query, Token, Wait};

use super::line::{Line, World, peer};
use super::messages::to;
use crate::access::Client;
use crate::wire::{Call, Event, How, Status, Why};

fn within(namespace: &str) -> Client {
    Client::new().namespace(namespace)
}

impl Line {
    fn seen(&mut self, world: &mut World, query: Query) -> Vec<String> {
        self.events.clear();
        self.say(world, &Call::Inspect { call: 90, query });
        let infos = self.events.iter().flat_map(|event| match event {
            Event::Listed { infos, .. } => infos.as_slice(),
            _ => &[],
        });
        infos.map(|info| info.key.clone()).collect()
    }

    fn counts(&mut self, world: &mut World) -> (u64, u64, u64) {
        self.events.clear();
        self.say(world, &Call::Status { call: 91 });
        match &self.events[..] {
            [Event::Status { status: Status { sessions, keys, waiters, .. }, .. }] => {
                (*sessions, *keys, *waiters)
            }
            other => panic!("{other:?}"),
        }
    }

    fn evicts(&mut self, world: &mut World, key: &str, token: u64) -> Result<bool, ErrorKind> {
        self.events.clear();
        let (key, token) = (key.to_owned(), Token::new(token));
        self.say(world, &Call::Evict { call: 92, key, token });
        match self.events.iter().find(|it| !matches!(it, Event::Lost { .. })) {
            Some(Event::Evicted { found, .. }) => Ok(*found),
            Some(Event::Refused { error, .. }) => Err(error.kind()),
            other => panic!("{other:?}"),
        }
    }

    fn refusal(&self, wanted: u64) -> &LockError {
        let refused = self.events.iter().find_map(|event| match event {
            Event::Refused { call, error } if *call == wanted => Some(error),
            _ => None,
        });
        refused.expect("it is refused")
    }
}

#[test]
fn n5_messages_stay_within_a_namespace() {
    let mut world = World::new();
    let mut one = world.client("one", within("a/"));
    let mut two = world.client("two", within("a/"));
    let mut other = world.client("other", within("b/"));
    let mut longer = world.client("longer", within("a/b/"));
    let mut free = world.client("free", Client::new());
    for line in [&mut one, &mut two, &mut other, &mut longer, &mut free] {
        line.mailbox(&mut world, true);
    }
    assert_eq!(one.publish(&mut world, to(&[])), (1, 0), "to those of its namespace alone");
    assert_eq!(other.publish(&mut world, to(&[])), (0, 0));
    assert_eq!(longer.publish(&mut world, to(&[])), (0, 0));
    assert_eq!(free.publish(&mut world, to(&[])), (0, 0), "to lock every key is not to administer");
    // By name, neither: nobody learns that there is somebody.
    for line in [&mut one, &mut other, &mut free] {
        world.arbiter.sessions.get_mut(&line.opened.realm).unwrap().party.label = Some("x".into());
    }
    assert_eq!(two.publish(&mut world, to(&["x"])), (1, 0));
    assert_eq!(longer.publish(&mut world, to(&["x"])), (0, 0));
    let heard = [&mut one, &mut two, &mut other, &mut longer, &mut free];
    assert_eq!(heard.map(|line| line.messages(&mut world)), [1, 1, 0, 0, 0]);
}

#[test]
fn n5_administrators_hear_and_reach_those_within_their_namespace() {
    let mut world = World::new();
    let mut admin = world.client("admin", within("a/").admin());
    let mut inner = world.client("inner", within("a/b/"));
    let mut other = world.client("other", within("b/"));
    let mut all = world.client("all", Client::new().admin());
    for line in [&mut admin, &mut inner, &mut other, &mut all] {
        line.mailbox(&mut world, true);
    }
    assert_eq!(admin.publish(&mut world, to(&[])), (1, 0));
    assert_eq!(all.publish(&mut world, to(&[])), (3, 0));
    assert_eq!(inner.publish(&mut world, to(&[])), (0, 0), "that they listen is not told");
    assert_eq!(other.publish(&mut world, to(&[])), (0, 0));
    let heard = [&mut admin, &mut inner, &mut other, &mut all];
    assert_eq!(heard.map(|line| line.messages(&mut world)), [2, 2, 1, 3]);
}

#[test]
fn n5_lists_and_counts_are_those_of_the_namespace() {
    let mut world = World::new();
    let mut one = world.client("one", within("a/"));
    let mut other = world.client("other", within("b/"));
    let mut inner = world.client("inner", within("a/b/"));
    let mut all = world.client("all", Client::new());
    one.ask(&mut world, "a/1", |_| {});
    other.ask(&mut world, "b/1", |_| {});
    other.ask(&mut world, "b/2", |_| {});
    all.ask(&mut world, "b/1", |_| {});
    all.ask(&mut world, "c", |_| {});
    assert_eq!(one.counts(&mut world), (2, 1, 0), "itself, and who is within");
    assert_eq!(inner.counts(&mut world), (1, 0, 0));
    assert_eq!(other.counts(&mut world), (1, 2, 1));
    assert_eq!(all.counts(&mut world), (4, 4, 1));
    assert_eq!(one.seen(&mut world, Query::All), ["a/1"]);
    assert!(one.seen(&mut world, Query::Key("b/1".into())).is_empty());
    assert!(one.seen(&mut world, Query::Prefix("b".into())).is_empty());
    assert!(inner.seen(&mut world, Query::Prefix("a".into())).is_empty());
    assert_eq!(all.seen(&mut world, Query::All).len(), 4);
    // Who runs the server sees everything.
    let seen = world.arbiter.observe(true);
    assert_eq!((seen.status.keys, seen.locks.len(), seen.clients.len()), (4, 4, 4));
}

#[test]
fn n5_only_administrators_release_and_only_within_their_namespace() {
    let mut world = World::new();
    let mut holder = world.client("all", Client::new().steal());
    let held = ["a/1", "b/1"].map(|key| holder.ask(&mut world, key, |_| {}));
    let [a, b] = held.map(|held| holder.granted(&mut world, held).unwrap());
    assert_eq!(holder.evicts(&mut world, "a/1", a), Err(ErrorKind::Unauthorized));
    let mut admin = world.client("admin", within("a/").admin());
    let refused = admin.evicts(&mut world, "b/1", b);
    assert_eq!(refused, Err(ErrorKind::Unauthorized));
    let told = admin.refusal(92).to_string();
    assert_eq!(admin.evicts(&mut world, "b/1", 999), refused, "whether there is such a hold");
    assert_eq!(admin.refusal(92).to_string(), told, "is not told");
    assert_eq!(admin.evicts(&mut world, "a/1", a), Ok(true));
    // A right is not the other one.
    let steal = admin.ask(&mut world, "a/1", |ask| {
        ask.options.steal_after = Some(super::SECOND);
        ask.options.wait = Some(Wait::Try);
    });
    assert_eq!(admin.refusal(steal).kind(), ErrorKind::Unauthorized);
}

#[test]
fn n5_a_cycle_tells_nothing_of_what_is_beyond_the_namespace() {
    let mut world = World::new();
    let mut all = world.client("all", Client::new());
    let mut hidden = world.client("hidden", Client::new());
    let mut one = world.client("one", within("a/"));
    for (line, label) in [(&mut all, "all"), (&mut hidden, "hidden"), (&mut one, "one")] {
        let session = world.arbiter.sessions.get_mut(&line.opened.realm).unwrap();
        session.party.label = Some(label.into());
    }
    let label = |ask: &mut crate::wire::Acquire| ask.label = Some("hidden work".into());
    // One waits for `all`, that for `hidden`, and that for one.
    all.ask(&mut world, "a/1", |_| {});
    hidden.ask(&mut world, "secret/1", label);
    one.ask(&mut world, "a/2", |_| {});
    all.ask(&mut world, "secret/1", label);
    hidden.ask(&mut world, "a/2", |_| {});
    let refused = one.ask(&mut world, "a/1", |_| {});
    let error = one.refusal(refused);
    assert_eq!((error.kind(), error.cycle().len()), (ErrorKind::Deadlock, 3));
    let told = format!("{error} {error:?} {:?}", error.cycle());
    assert!(!told.contains("secret") && !told.contains("hidden work"), "{told}");
    assert!(told.contains("a key of another namespace"), "{told}");
}

#[test]
fn n5_a_session_goes_on_for_the_name_that_it_belongs_to_and_for_no_other() {
    for restarts in [false, true] {
        let mut world = World::new();
        let mut mine = world.client("one", Client::new());
        let held = mine.ask(&mut world, "k", |_| {});
        mine.granted(&mut world, held).unwrap();
        if restarts {
            world.restart();
        } else {
            world.arbiter.disconnect(mine.id);
        }
        // With the session's own secret, too.
        let stolen = Line::open_as(&mut world, peer("two", Client::new()), Some(mine.resumption()));
        let rejected = stolen.map(|_| ()).unwrap_err();
        assert_eq!(rejected.why, Why::Unauthorized);
        assert!(rejected.text.contains("belongs to the client `one`"), "{}", rejected.text);
        let local = Line::open(&mut world, mine.kept, Some(mine.resumption()));
        assert_eq!(local.map(|_| ()).unwrap_err().why, Why::Unauthorized);
        let again = peer("one", Client::new());
        let again = Line::open_as(&mut world, again, Some(mine.resumption())).unwrap();
        let how = if restarts { How::Restored } else { How::Resumed };
        assert_eq!(again.opened.how, how);
    }
}
