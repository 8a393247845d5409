//! The server's process: the rounds of the real one, with a disk that is played.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use locks_core::Moment;

use super::Bug;
use super::disk::read;
use super::network::ServerEnd;
use super::world::World;
use crate::arbiter::{Arbiter, ArbiterSetup, ConnId, Limits, Notice, Peer};
use crate::history::{Id, KeptBy, What};
use crate::journal::{Record, Recovered, SessionKind};
use crate::pidfd::Process;

#[derive(Default)]
pub(super) struct SimulatedServer {
    /// Nothing while it is down.
    pub(super) arbiter: Option<Arbiter>,
    /// When it is started again.
    pub(super) starts_at: Option<Moment>,
    /// It is stopped until then.
    pub(super) stopped_until: Option<Moment>,
    /// When it has done what it is doing.
    busy_until: Option<Moment>,
    /// It dies in its next round, there.
    pub(super) dies_at: Option<Point>,
    /// The processes that keep sessions, and what it was told of them.
    watched: BTreeMap<u32, u32>,
    dead: BTreeSet<u32>,
    silent_until: Option<Moment>,
}

/// Where in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    BeforeReading,
    BeforeWriting,
    WhileWriting,
    BeforeTelling,
    WhileTelling,
    AtEnd,
}

pub(super) const POINTS: [Point; 6] = [
    Point::BeforeReading,
    Point::BeforeWriting,
    Point::WhileWriting,
    Point::BeforeTelling,
    Point::WhileTelling,
    Point::AtEnd,
];

impl World {
    /// When the server has something to do.
    pub(super) fn server_is_due(&self) -> Option<Moment> {
        let Some(arbiter) = &self.server.arbiter else { return self.server.starts_at };
        let input = self.connections.values().filter_map(|it| match it.server {
            ServerEnd::Unaccepted => Some(it.accept_at),
            ServerEnd::Known(_) => it.up.next(),
            ServerEnd::Closed => None,
        });
        let deadline = arbiter.next_deadline().map(|at| self.machine.real(at));
        let dead = (!self.server.dead.is_empty()).then_some(self.now);
        let due = input.chain(deadline).chain(dead).min()?;
        let ready = [self.server.busy_until, self.server.stopped_until];
        Some(ready.into_iter().flatten().fold(due, Moment::max))
    }

    /// One round, or a start.
    pub(super) fn serve(&mut self) {
        let Some(mut arbiter) = self.server.arbiter.take() else { return self.start_server() };
        self.server.stopped_until = None;
        let survives = self.round(&mut arbiter);
        if survives {
            self.server.arbiter = Some(arbiter);
            let pause = Duration::from_micros(self.random.within(5..300));
            self.server.busy_until = Some(self.now.after(pause));
        } else {
            drop(arbiter);
            self.crashed();
        }
    }

    fn round(&mut self, arbiter: &mut Arbiter) -> bool {
        self.note_arrivals();
        let point = self.server.dies_at.take();
        if point == Some(Point::BeforeReading) {
            return false;
        }
        if self.plan.bug == Some(Bug::ExpiredUnread) {
            arbiter.run();
        }
        self.read(arbiter);
        for realm in std::mem::take(&mut self.server.dead) {
            arbiter.process_ended(realm);
        }
        arbiter.run();
        if self.server.silent_until.is_some_and(|until| until < self.now) {
            self.server.silent_until = None;
            self.disk.silence_is_over();
        }
        if self.plan.bug == Some(Bug::ToldBeforeWritten) {
            self.say(arbiter, false);
        }
        if point == Some(Point::BeforeWriting) {
            return false;
        }
        self.disk.cover(arbiter.promised());
        let batch = std::mem::take(arbiter.journal());
        if point == Some(Point::WhileWriting) {
            let part = self.random.within(0..batch.len() as u64 + 1) as usize;
            self.write_down(&batch[..part]);
            return false;
        }
        self.write_down(&batch);
        if point == Some(Point::BeforeTelling) {
            return false;
        }
        self.say(arbiter, point == Some(Point::WhileTelling));
        if point.is_none() && self.random.percent(3) {
            let snapshot = arbiter.snapshot();
            let alive = self.alive(&snapshot);
            self.disk.compact(snapshot);
            self.tell(What::Stands { alive });
        }
        point.is_none()
    }

    fn note_arrivals(&mut self) {
        let mut heard = Vec::new();
        for connection in self.connections.values_mut() {
            if matches!(connection.server, ServerEnd::Known(_))
                && connection.up.has_come_in(self.now)
            {
                heard.push(self.clients[connection.client].number);
            }
        }
        for client in heard {
            self.tell(What::Arrived { client });
        }
    }

    /// All that has come in, from everybody.
    fn read(&mut self, arbiter: &mut Arbiter) {
        let numbers = self.connections.keys().copied().collect::<Vec<_>>();
        for number in numbers {
            let Some(connection) = self.connections.get_mut(&number) else { continue };
            if connection.server == ServerEnd::Unaccepted && connection.accept_at <= self.now {
                let client = &self.clients[connection.client];
                let kept = match client.kept {
                    KeptBy::Process => SessionKind::ByProcess(Process {
                        pid: client.number,
                        started: 1,
                        ..Process::default()
                    }),
                    KeptBy::Lease => SessionKind::ByLease,
                };
                let proving = client.secret.is_some().then(super::client::proving);
                connection.server = ServerEnd::Known(arbiter.connect(Peer::new(kept, proving)));
            }
            let ServerEnd::Known(id) = connection.server else { continue };
            while let Some(bytes) = connection.up.read(self.now) {
                arbiter.receive(id, &bytes);
            }
            if connection.up.has_ended(self.now) {
                arbiter.disconnect(id);
                self.close_server_end(number);
            }
        }
    }

    /// Everything that is to be sent, and what else the arbiter wants. `partly`: it dies meanwhile.
    fn say(&mut self, arbiter: &mut Arbiter, partly: bool) {
        for notice in arbiter.take_notices() {
            match notice {
                Notice::Output(id) => self.send(arbiter, id, partly),
                Notice::Close(id) => {
                    self.send(arbiter, id, partly);
                    if let Some(number) = self.number_of(id) {
                        self.close_server_end(number);
                    }
                }
                Notice::Unproven(_) => self.failure = Some("a proof was not believed".into()),
                Notice::LetIn(_) => {}
                Notice::Watch { realm, process: Process { pid, .. }, .. } => {
                    self.server.watched.insert(realm, pid);
                    if self.is_gone(pid) {
                        self.server.dead.insert(realm);
                    }
                }
                Notice::Unwatch { realm } => _ = self.server.watched.remove(&realm),
            }
        }
    }

    fn send(&mut self, arbiter: &mut Arbiter, id: ConnId, partly: bool) {
        let mut output = Vec::new();
        arbiter.take_output(id, &mut output);
        if partly {
            let part = self.random.within(0..output.len() as u64 + 1);
            output.truncate(part as usize);
        }
        if let Some(number) = self.number_of(id)
            && let Some(connection) = self.connections.get_mut(&number)
        {
            connection.down.write(self.now, &output, &mut self.random);
        }
    }

    fn number_of(&self, id: ConnId) -> Option<usize> {
        let known = |end: ServerEnd| end == ServerEnd::Known(id);
        self.connections.iter().find(|(_, it)| known(it.server)).map(|(number, _)| *number)
    }

    fn close_server_end(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.server = ServerEnd::Closed;
        connection.up.drop_rest();
        connection.down.close(self.now, &mut self.random);
        let client = self.clients[connection.client].number;
        self.tell(What::Cut { client });
        self.connections.retain(|_, connection| !connection.is_over());
    }

    /// What is on the disk from now on.
    fn write_down(&mut self, batch: &[u8]) {
        for record in self.disk.append(batch) {
            match record {
                Record::Session(session) => {
                    let label = session.party.label.unwrap_or_default();
                    self.realms.insert(session.realm, label.parse().unwrap_or(0));
                }
                Record::Gone { realm } => {
                    if let Some(client) = self.realms.remove(&realm) {
                        self.tell(What::Over { client, session: realm });
                    }
                }
                Record::Grant(grant) => {
                    let it = self.id_of(grant.realm, grant.request);
                    let members = grant.members.into_iter();
                    let keys = members.map(|it| (it.key, it.token, it.nested)).collect();
                    self.tell(What::Given { it, keys });
                }
                Record::Ended { realm, request, cause, .. } => {
                    let it = self.id_of(realm, request);
                    self.tell(What::Taken { it, cause });
                }
                Record::Refreshed { realm, request, .. } => {
                    let it = self.id_of(realm, request);
                    self.tell(What::Refreshed { it });
                }
                Record::Freed { key, token } => self.tell(What::Freed { key, token }),
                // No client of the simulation marks or shares what it holds.
                Record::Disowned { .. }
                | Record::Done { .. }
                | Record::Shared { .. }
                | Record::Reserved(_) => {}
            }
        }
    }

    fn id_of(&self, realm: u32, request: u64) -> Id {
        Id { client: self.realms.get(&realm).copied().unwrap_or(0), request }
    }

    /// What a server with this snapshot takes to be held.
    fn alive(&self, snapshot: &[u8]) -> Vec<Id> {
        let grants = read(snapshot).into_iter().filter_map(|record| match record {
            Record::Grant(grant) => Some(self.id_of(grant.realm, grant.request)),
            _ => None,
        });
        grants.collect()
    }

    /// A new process serves.
    pub(super) fn start_server(&mut self) {
        self.server.starts_at = None;
        let Recovered { ledger, floor, silent_for } = match self.disk.recover() {
            Ok(recovered) => recovered,
            Err(why) => return self.failure = Some(format!("the journal is refused: {why}")),
        };
        let forgotten = self.plan.bug == Some(Bug::FloorForgotten);
        let floor = if forgotten { locks_core::Token::new(0) } else { floor };
        let mut server = [0; 16];
        self.random.fill(&mut server);
        let mut random = self.random.split();
        let limits = Limits {
            lease: self.plan.lease,
            shortest_lease: Duration::from_millis(250),
            ..Limits::default()
        };
        let setup = ArbiterSetup {
            limits,
            server,
            process: "simulated".into(),
            clock: self.machine.awake.clone(),
            boot_clock: self.machine.boot.clone(),
            random: Box::new(move |bytes| random.fill(bytes)),
            ledger,
            floor,
            promise: Box::new(|_, _, _| Ok(())),
            silent_for,
        };
        self.server = SimulatedServer::default();
        self.server.silent_until = silent_for.map(|left| self.now.after(left.mul_f64(1.02)));
        let mut arbiter = match Arbiter::new(setup) {
            Ok(arbiter) => arbiter,
            Err(error) => return self.failure = Some(format!("it does not start: {error}")),
        };
        arbiter.break_by(self.plan.bug);
        self.disk.cover(arbiter.promised());
        let batch = std::mem::take(arbiter.journal());
        self.write_down(&batch);
        let alive = self.alive(&arbiter.snapshot());
        self.tell(What::Stands { alive });
        self.say(&mut arbiter, false);
        self.server.arbiter = Some(arbiter);
    }

    /// The process that keeps sessions is gone.
    pub(super) fn process_is_gone(&mut self, pid: u32) {
        let realms = self.server.watched.iter().filter(|(_, watched)| **watched == pid);
        self.server.dead.extend(realms.map(|(realm, _)| *realm));
    }

    fn is_gone(&self, pid: u32) -> bool {
        self.clients.iter().any(|client| client.number == pid && client.is_gone)
    }
}
