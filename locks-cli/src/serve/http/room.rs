//! Bounds the connections of the page, which every user of the machine can open. Where there are
//! too many, one that asks nothing or does not read its answer is closed first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

/// So many connections of which nothing has been answered yet there are at a time.
const NEWCOMERS: usize = 256;

/// So many requests are answered at a time, and so many connections are kept of which one has been.
const CONNECTIONS: usize = 64;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Room {
    connections: Mutex<Connections>,
    answers: Semaphore,
}

#[derive(Debug, Default)]
struct Connections {
    last: u64,
    /// The oldest first.
    all: BTreeMap<u64, OpenConnection>,
}

#[derive(Debug)]
struct OpenConnection {
    stage: ConnectionStage,
    /// It has shown the token.
    is_known: bool,
    /// Ends the connection when it is dropped.
    _keeps: oneshot::Sender<()>,
}

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionStage {
    /// Nothing has been answered yet.
    New,
    /// A request is being answered.
    Asked,
    /// There is an answer that its client has not read.
    Unread,
    /// Until the next request there is nothing to do.
    Idle,
}

/// A connection's slot in the room, which it leaves when this is dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    room: Arc<Room>,
    number: u64,
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct AnswerInProgress<'a> {
    slot: &'a ConnectionSlot,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Room {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { connections: Mutex::default(), answers: Semaphore::new(CONNECTIONS) })
    }

    /// Adds a connection, which ends when the receiver resolves.
    pub(super) fn enter(self: &Arc<Self>) -> (ConnectionSlot, oneshot::Receiver<()>) {
        let (keeps, ends) = oneshot::channel();
        let mut connections = self.lock();
        connections.last += 1;
        let number = connections.last;
        connections.make_way(NEWCOMERS - 1, |connection| {
            (connection.stage == ConnectionStage::New).then_some(false)
        });
        let connection =
            OpenConnection { stage: ConnectionStage::New, is_known: false, _keeps: keeps };
        connections.all.insert(number, connection);
        drop(connections);
        (ConnectionSlot { room: Arc::clone(self), number }, ends)
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    /// Ends the oldest of those with the least rank until there are no more than `most` that have
    /// one.
    fn make_way<R: Ord>(&mut self, most: usize, rank: impl Fn(&OpenConnection) -> Option<R>) {
        loop {
            let ranked = self
                .all
                .iter()
                .filter_map(|(number, connection)| Some((rank(connection)?, *number)));
            let ranked = ranked.collect::<Vec<_>>();
            if ranked.len() <= most {
                return;
            }
            let least = ranked.into_iter().min();
            least.map(|(_, number)| self.all.remove(&number));
        }
    }
}

impl ConnectionSlot {
    /// A request has come, and is answered from when this is over.
    pub(super) async fn ask(&self) -> AnswerInProgress<'_> {
        // It is never closed.
        let permit = self.room.answers.acquire().await.ok();
        self.set(ConnectionStage::Asked);
        AnswerInProgress { slot: self, _permit: permit }
    }

    /// Its client has shown the token.
    pub(super) fn let_in(&self) {
        if let Some(connection) = self.room.lock().all.get_mut(&self.number) {
            connection.is_known = true;
        }
    }

    /// Whether its client leaves an answer unread.
    pub(super) fn set_unread(&self, is_unread: bool) {
        let (from, to) = match is_unread {
            true => (ConnectionStage::Idle, ConnectionStage::Unread),
            false => (ConnectionStage::Unread, ConnectionStage::Idle),
        };
        if let Some(connection) = self.room.lock().all.get_mut(&self.number)
            && connection.stage == from
        {
            connection.stage = to;
        }
    }

    fn set(&self, stage: ConnectionStage) {
        if let Some(connection) = self.room.lock().all.get_mut(&self.number) {
            connection.stage = stage;
        }
    }
}

impl Drop for AnswerInProgress<'_> {
    fn drop(&mut self) {
        let mut connections = self.slot.room.lock();
        // One that is known and reads slowly is the last to go; this one has its answer to be sent
        // yet.
        connections.make_way(CONNECTIONS - 1, |connection| match connection.stage {
            ConnectionStage::Idle => Some((connection.is_known, false)),
            ConnectionStage::Unread => Some((connection.is_known, connection.is_known)),
            ConnectionStage::New | ConnectionStage::Asked => None,
        });
        drop(connections);
        self.slot.set(ConnectionStage::Idle);
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.room.lock().all.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Connection = (ConnectionSlot, oneshot::Receiver<()>);

    fn is_over(connection: &mut Connection) -> bool {
        connection.1.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    fn asked(slot: &ConnectionSlot) -> AnswerInProgress<'_> {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(slot.ask())
    }

    fn answered(room: &Arc<Room>, is_known: bool) -> Connection {
        let (slot, ends) = room.enter();
        let asked = asked(&slot);
        if is_known {
            slot.let_in();
        }
        drop(asked);
        (slot, ends)
    }

    fn over(all: &mut [Connection]) -> Vec<usize> {
        let numbered = all.iter_mut().enumerate();
        numbered.filter_map(|(at, it)| is_over(it).then_some(at)).collect()
    }

    #[test]
    fn f18_the_oldest_of_those_who_ask_for_nothing_makes_way() {
        let room = Room::new();
        let mut silent = (0..NEWCOMERS).map(|_| room.enter()).collect::<Vec<_>>();
        assert_eq!(over(&mut silent).len(), 0);
        let late = (0..3).map(|_| room.enter()).collect::<Vec<_>>();
        assert_eq!(over(&mut silent), [0, 1, 2]);
        drop(late);
        let mut others = (0..3).map(|_| room.enter()).collect::<Vec<_>>();
        assert_eq!((over(&mut silent), over(&mut others)), (vec![0, 1, 2], vec![]));
    }

    #[test]
    fn f18_whoever_was_answered_makes_way_for_others_and_the_known_last() {
        let room = Room::new();
        let known = |connections: &mut Vec<Connection>| connections.push(answered(&room, true));
        let mut connections = Vec::new();
        known(&mut connections);
        connections.extend((1..CONNECTIONS - 1).map(|_| answered(&room, false)));
        known(&mut connections);
        connections[0].0.set_unread(true);
        connections[1].0.set_unread(true);
        connections[2].0.set_unread(true);
        connections[2].0.set_unread(false);
        // One that is being answered is in nobody's way.
        let (busy, _) = room.enter();
        let being_answered = asked(&busy);
        assert_eq!(over(&mut connections).len(), 0);
        let next = answered(&room, false);
        assert_eq!(over(&mut connections), [1], "the oldest that is not known");
        let others = (0..CONNECTIONS).map(|_| answered(&room, true)).collect::<Vec<_>>();
        let went = over(&mut connections);
        assert_eq!(went.len(), CONNECTIONS - 1, "{went:?}");
        assert!(!went.contains(&0), "it is known and has not read yet");
        drop((being_answered, next, others));
    }

    #[test]
    fn f18_so_many_are_answered_at_a_time_and_others_wait() {
        let room = Room::new();
        let connections = (0..=CONNECTIONS).map(|_| room.enter()).collect::<Vec<_>>();
        let (last, others) = connections.split_last().unwrap();
        let mut asked = others.iter().map(|(slot, _)| asked(slot)).collect::<Vec<_>>();
        let mut waiting = std::pin::pin!(last.0.ask());
        let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(cx).is_pending());
        asked.pop();
        assert!(waiting.as_mut().poll(cx).is_ready());
    }
}
