//! A client's process: its session, its connection, and the tasks that want locks.

use std::sync::Arc;
use std::time::Duration;

use locks_core::{Moment, ProcessInfo};

use super::clock::SimulatedMachine;
use super::network::ServerEnd;
use super::task::Task;
use super::world::World;
use crate::client::{ClientSession, Hello, Reach, SessionSetup};
use crate::history::{KeptBy, What};
use crate::secret::{Proving, Secret, Secured};

pub(super) struct SimulatedClient {
    pub(super) number: u32,
    pub(super) kept: KeptBy,
    pub(super) lease: Duration,
    /// Its own, if it is not on the server's.
    pub(super) machine: Option<SimulatedMachine>,
    pub(super) secret: Option<Arc<Secret>>,
    pub(super) session: ClientSession,
    pub(super) connection: Option<usize>,
    pub(super) was_open: bool,
    /// When it tries to reach the server, and by how many connections.
    pub(super) reach: Reach,
    /// Those beside its connection, with what was said over them.
    pub(super) attempts: Vec<(u64, usize, Hello)>,
    /// When it looked at its connection last.
    pub(super) looked_at: Moment,
    pub(super) tasks: Vec<Task>,
    pub(super) stopped_until: Option<Moment>,
    /// Nothing passes until then, to the server and from it.
    pub(super) cut_off_until: Option<(Moment, Moment)>,
    pub(super) is_gone: bool,
}

fn secret() -> Secret {
    Secret::parse(&"5a".repeat(32)).expect("64 digits")
}

/// What the server wants to be proved to it.
pub(super) fn proving() -> Proving {
    Proving { clients: Arc::new(secret().into()), ..Proving::default() }
}

impl SimulatedClient {
    fn secured(&self) -> Secured {
        Secured { secret: self.secret.clone(), ..Secured::default() }
    }
}

impl World {
    /// A client process begins.
    pub(super) fn join(&mut self) {
        let number = self.clients.len() as u32 + 1;
        let leased = self.random.percent(self.plan.leased);
        let kept = if leased { KeptBy::Lease } else { KeptBy::Process };
        let machine = leased.then(|| {
            let (uptime, drift) = (self.random.millis(0..100_000), self.random.within(0..20_000));
            SimulatedMachine::new(self.now, uptime, drift as i64 - 10_000)
        });
        let own = machine.as_ref().unwrap_or(&self.machine);
        own.show(self.now);
        let mut random = self.random.split();
        let lease = self.plan.lease;
        let mut party = ProcessInfo::default();
        party.label = Some(number.to_string());
        let mut session = ClientSession::new(SessionSetup {
            name: "simulated:".into(),
            clock: own.boot.clone(),
            party,
            lease: self.random.percent(50).then_some(lease),
            connect: Duration::from_millis(800),
            random: Box::new(move |bytes| random.fill(bytes)),
        });
        session.break_by(self.plan.bug);
        let secret = (leased && self.plan.seed.is_multiple_of(4)).then(|| Arc::new(secret()));
        let tasks = (0..self.plan.tasks as u64).map(|task| {
            let named = self.random.percent(70);
            Task::new(named.then_some(task + 1), self.now)
        });
        let tasks = tasks.collect();
        self.clients.push(SimulatedClient {
            number,
            kept,
            lease,
            machine,
            secret,
            session,
            connection: None,
            was_open: false,
            reach: Reach::default(),
            attempts: Vec::new(),
            looked_at: self.now,
            tasks,
            stopped_until: None,
            cut_off_until: None,
            is_gone: false,
        });
        self.tell(What::Joined { client: number, kept, lease });
    }

    /// When the client has something to do.
    pub(super) fn client_is_due(&self, index: usize) -> Option<Moment> {
        let client = &self.clients[index];
        if client.is_gone {
            return None;
        }
        if let Some(until) = client.stopped_until {
            return Some(until);
        }
        let machine = client.machine.as_ref().unwrap_or(&self.machine);
        let input = client.connection.and_then(|number| self.connections[&number].down.next());
        let deadline = client.session.next_deadline().map(|at| machine.real(at));
        let dials = client.connection.is_none() && client.session.wants_server();
        let dials = dials.then(|| client.reach.next_at().map_or(self.now, |at| machine.real(at)));
        let beside = client.connection.and_then(|_| {
            client.reach.next_beside(client.session.silent_since(), client.session.beat())
        });
        let beside = beside.map(|at| machine.real(at));
        let answers = client.attempts.iter();
        let answers =
            answers.filter_map(|(_, number, _)| self.connections[number].down.next()).min();
        let looks = client.connection.and(client.session.look_every());
        let looks = looks.map(|after| client.looked_at.after(after));
        let task = client.tasks.iter().filter_map(|task| task.is_due(self.now)).min();
        [input, deadline, dials, beside, answers, looks, task]
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.max(self.now))
    }

    /// Does what is to be done now.
    pub(super) fn drive(&mut self, index: usize) {
        let number = self.clients[index].number;
        let resumes = self.clients[index].stopped_until.take().is_some();
        if resumes {
            self.tell(What::Resumed { client: number });
        }
        self.receive(index);
        self.receive_beside(index);
        self.keep_time(index);
        self.reach(index);
        self.reach_beside(index);
        self.look_at_all(index, resumes);
        for task in 0..self.clients[index].tasks.len() {
            self.run_task(index, task);
        }
        self.transmit(index);
    }

    fn receive(&mut self, index: usize) {
        let now = self.now;
        let client = &mut self.clients[index];
        let Some(number) = client.connection else { return };
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let looked_at = client.session.now();
        while let Some(bytes) = connection.down.read(now) {
            if client.session.receive(&bytes).is_err() {
                return self.hang_up(index);
            }
        }
        let is_over = connection.down.has_ended(now) || client.session.is_closing();
        // Also of one that is over already: the client goes by what it has heard.
        self.note_opening(index);
        if is_over {
            return self.hang_up(index);
        }
        let client = &mut self.clients[index];
        client.session.seen_open(looked_at);
        client.looked_at = now;
    }

    fn note_opening(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let is_open = client.session.is_open();
        let was_open = std::mem::replace(&mut client.was_open, is_open);
        if is_open && !was_open {
            client.reach.opened(client.session.now());
            let (number, session) = (client.number, client.session.number());
            self.tell(What::Opened { client: number, session });
        }
    }

    fn keep_time(&mut self, index: usize) {
        if self.clients[index].session.tick() {
            self.hang_up(index);
        }
    }

    /// Reaches for the server, if there is something to reach it for.
    fn reach(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let is_due = client.reach.is_due(client.session.now());
        if client.connection.is_some() || !is_due || !client.session.wants_server() {
            return;
        }
        client.session.reaching();
        let is_local = client.kept == KeptBy::Process;
        if self.server.arbiter.is_none() {
            if is_local {
                let at = client.session.now();
                client.session.nobody_listens(at);
            }
            client.session.unreachable("nobody listens");
            return self.back_off(index);
        }
        let secured = client.secured();
        client.session.dialed(secured);
        self.clients[index].connection = Some(self.dial(index));
        self.back_off(index);
    }

    fn dial(&mut self, index: usize) -> usize {
        let (now, client) = (self.now, &self.clients[index]);
        let (is_local, cut_off) = (client.kept == KeptBy::Process, client.cut_off_until);
        let accept_at = now.after(super::network::delay(is_local, &mut self.random));
        let accept_at = accept_at.max(cut_off.map_or(now, |(up, down)| up.max(down)));
        let mut connection = super::network::SimulatedConnection::new(index, is_local, accept_at);
        if let Some(until) = cut_off {
            connection.hold_up(until);
        }
        self.connections.insert(self.next_connection, connection);
        self.next_connection += 1;
        self.next_connection - 1
    }

    fn back_off(&mut self, index: usize) {
        let chance = self.random.within(0..256) as u8;
        let client = &mut self.clients[index];
        let (now, beat) = (client.session.now(), client.session.beat());
        client.reach.failed(now, beat, chance);
    }

    /// Makes an attempt beside a connection that is silent, as the link does.
    fn reach_beside(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let (now, silent) = (client.session.now(), client.session.silent_since());
        if client.connection.is_none() || silent.is_none() {
            return self.end_beside(index);
        }
        let due = client.reach.next_beside(silent, client.session.beat());
        if due.is_none_or(|at| now < at) {
            return;
        }
        let (attempt, given_up) = client.reach.begin_beside(now);
        if self.server.arbiter.is_none() {
            return;
        }
        let client = &mut self.clients[index];
        let hello = client.session.hello(client.secured());
        let number = self.dial(index);
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.up.write(self.now, &hello.bytes, &mut self.random);
        }
        self.clients[index].attempts.push((attempt, number, hello));
        self.drop_attempts(index, |of| Some(of) == given_up);
    }

    /// One that is answered takes the place of the connection that is silent.
    fn receive_beside(&mut self, index: usize) {
        let now = self.now;
        let client = &mut self.clients[index];
        let has_come =
            |number: &usize| self.connections[number].down.next().is_some_and(|at| at <= now);
        let Some(place) = client.attempts.iter().position(|(_, number, _)| has_come(number)) else {
            return;
        };
        let (_, number, hello) = client.attempts.remove(place);
        if client.connection.is_none() || client.session.silent_since().is_none() {
            self.close_attempt(number);
            return;
        }
        self.close_client_end(index);
        let client = &mut self.clients[index];
        client.connection = Some(number);
        client.was_open = false;
        client.session.joined(hello);
        let of = client.number;
        self.tell(What::Cut { client: of });
        self.back_off(index);
        self.end_beside(index);
        self.receive(index);
    }

    fn end_beside(&mut self, index: usize) {
        self.clients[index].reach.end_beside();
        self.drop_attempts(index, |_| true);
    }

    fn drop_attempts(&mut self, index: usize, which: impl Fn(u64) -> bool) {
        let attempts = std::mem::take(&mut self.clients[index].attempts);
        let (dropped, kept) = attempts.into_iter().partition(|(number, ..)| which(*number));
        self.clients[index].attempts = kept;
        let dropped: Vec<(u64, usize, Hello)> = dropped;
        for (_, number, _) in dropped {
            self.close_attempt(number);
        }
    }

    fn close_attempt(&mut self, number: usize) {
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.left = true;
            connection.up.close(self.now, &mut self.random);
            connection.down.drop_rest();
        }
        self.connections.retain(|_, connection| !connection.is_over());
    }

    /// The connection is over, as the client sees it.
    fn hang_up(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.reach.lost(client.session.now());
        client.session.unreachable("the connection has ended");
        client.session.disconnected();
        client.was_open = false;
        let number = client.number;
        self.close_client_end(index);
        self.tell(What::Cut { client: number });
    }

    fn close_client_end(&mut self, index: usize) {
        let Some(number) = self.clients[index].connection.take() else { return };
        self.close_attempt(number);
    }

    fn transmit(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.session.take_wakers().run();
        let mut output = Vec::new();
        client.session.take_output(&mut output);
        let Some(number) = client.connection else { return };
        let is_open = client.session.is_open();
        if let Some(connection) = self.connections.get_mut(&number)
            && !output.is_empty()
        {
            connection.up.write(self.now, &output, &mut self.random);
            if is_open && connection.server != ServerEnd::Closed {
                connection.up.mark();
            }
        }
    }

    /// Says good-bye.
    pub(super) fn leave(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if client.is_gone {
            return;
        }
        let number = client.number;
        client.session.bye();
        let mut output = Vec::new();
        client.session.take_output(&mut output);
        if let Some(connection) = client.connection.and_then(|it| self.connections.get_mut(&it)) {
            connection.up.write(self.now, &output, &mut self.random);
        }
        self.tell(What::Left { client: number });
        self.end_process(index);
    }

    /// The process is gone, in the midst of what it did.
    pub(super) fn kill(&mut self, index: usize) {
        let number = self.clients[index].number;
        self.tell(What::Died { client: number });
        self.end_process(index);
    }

    fn end_process(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.is_gone = true;
        client.tasks.clear();
        self.end_beside(index);
        let client = &mut self.clients[index];
        let (number, kept) = (client.number, client.kept);
        self.close_client_end(index);
        if kept == KeptBy::Process {
            self.process_is_gone(number);
        }
    }
}
