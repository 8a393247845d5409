//! A client's process: its session, its connection, and the tasks that want locks.

use std::sync::Arc;
use std::time::Duration;

use locks_core::{Moment, Party};

use super::clock::Machine;
use super::network::ServerEnd;
use super::task::Task;
use super::world::World;
use crate::client::{Session, SessionSetup};
use crate::history::{KeptBy, What};
use crate::secret::Secret;

pub(super) struct Client {
    pub(super) number: u32,
    pub(super) kept: KeptBy,
    pub(super) lease: Duration,
    /// Its own, if it is not on the server's.
    pub(super) machine: Option<Machine>,
    pub(super) secret: Option<Arc<Secret>>,
    pub(super) session: Session,
    pub(super) connection: Option<usize>,
    pub(super) was_open: bool,
    /// When it tries to reach the server again, and how long it waits after that.
    pub(super) dials_at: Moment,
    pub(super) backs_off: Duration,
    /// When it looked at its connection last.
    pub(super) looked_at: Moment,
    pub(super) tasks: Vec<Task>,
    pub(super) stopped_until: Option<Moment>,
    /// Nothing passes until then, to the server and from it.
    pub(super) cut_off_until: Option<(Moment, Moment)>,
    pub(super) is_gone: bool,
}

impl World {
    /// A client process begins.
    pub(super) fn join(&mut self) {
        let number = self.clients.len() as u32 + 1;
        let leased = self.random.percent(self.plan.leased);
        let kept = if leased { KeptBy::Lease } else { KeptBy::Process };
        let machine = leased.then(|| {
            let (uptime, drift) = (self.random.millis(0..100_000), self.random.within(0..20_000));
            Machine::new(self.now, uptime, drift as i64 - 10_000)
        });
        let own = machine.as_ref().unwrap_or(&self.machine);
        own.show(self.now);
        let mut random = self.random.split();
        let lease = self.plan.lease;
        let mut party = Party::default();
        party.label = Some(number.to_string());
        let mut session = Session::new(SessionSetup {
            name: "simulated:".into(),
            clock: own.boot.clone(),
            party,
            lease: self.random.percent(50).then_some(lease),
            connect: Duration::from_millis(800),
            random: Box::new(move |bytes| random.fill(bytes)),
        });
        session.break_by(self.plan.bug);
        let secret = (leased && self.plan.seed.is_multiple_of(4))
            .then(|| Arc::new(Secret::parse(&"5a".repeat(32)).expect("64 digits")));
        let tasks = (0..self.plan.tasks as u64).map(|task| {
            let named = self.random.percent(70);
            Task::new(named.then_some(task + 1), self.now)
        });
        let tasks = tasks.collect();
        self.clients.push(Client {
            number,
            kept,
            lease,
            machine,
            secret,
            session,
            connection: None,
            was_open: false,
            dials_at: self.now,
            backs_off: Duration::ZERO,
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
        let dials = dials.then_some(client.dials_at);
        let looks = client.connection.and(client.session.look_every());
        let looks = looks.map(|after| client.looked_at.after(after));
        let task = client.tasks.iter().filter_map(|task| task.is_due(self.now)).min();
        [input, deadline, dials, looks, task].into_iter().flatten().min().map(|at| at.max(self.now))
    }

    /// Does what is to be done now.
    pub(super) fn drive(&mut self, index: usize) {
        let number = self.clients[index].number;
        let resumes = self.clients[index].stopped_until.take().is_some();
        if resumes {
            self.tell(What::Resumed { client: number });
        }
        self.receive(index);
        self.keep_time(index);
        self.reach(index);
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
        if connection.down.has_ended(now) {
            return self.hang_up(index);
        }
        if client.session.is_closing() {
            return self.hang_up(index);
        }
        client.session.seen_open(looked_at);
        client.looked_at = now;
        self.note_opening(index);
    }

    fn note_opening(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let is_open = client.session.is_open();
        let was_open = std::mem::replace(&mut client.was_open, is_open);
        if is_open && !was_open {
            client.backs_off = Duration::ZERO;
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
        let now = self.now;
        let client = &mut self.clients[index];
        if client.connection.is_some() || now < client.dials_at || !client.session.wants_server() {
            return;
        }
        let is_local = client.kept == KeptBy::Process;
        if self.server.arbiter.is_none() {
            if is_local {
                let at = client.session.now();
                client.session.nobody_listens(at);
            }
            client.session.unreachable("nobody listens");
            return self.back_off(index);
        }
        let (secret, cut_off) = (client.secret.clone(), client.cut_off_until);
        client.session.dialed(secret);
        let accept_at = now.after(super::network::delay(is_local, &mut self.random));
        let accept_at = accept_at.max(cut_off.map_or(now, |(up, down)| up.max(down)));
        let mut connection = super::network::Connection::new(index, is_local, accept_at);
        if let Some(until) = cut_off {
            connection.hold_up(until);
        }
        self.connections.insert(self.next_connection, connection);
        self.clients[index].connection = Some(self.next_connection);
        self.next_connection += 1;
        self.back_off(index);
    }

    /// The next try is at once if this one led to something, and later and later otherwise.
    fn back_off(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.dials_at = self.now.after(client.backs_off);
        let longer = (client.backs_off * 2).max(Duration::from_millis(10));
        client.backs_off = longer.min(Duration::from_secs(1));
    }

    /// The connection is over, as the client sees it.
    fn hang_up(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.session.disconnected();
        client.was_open = false;
        let number = client.number;
        self.close_client_end(index);
        self.tell(What::Cut { client: number });
    }

    fn close_client_end(&mut self, index: usize) {
        let Some(number) = self.clients[index].connection.take() else { return };
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.left = true;
            connection.up.close(self.now, &mut self.random);
            connection.down.drop_rest();
        }
        self.connections.retain(|_, connection| !connection.is_over());
    }

    fn transmit(&mut self, index: usize) {
        let client = &mut self.clients[index];
        for waker in client.session.take_woken() {
            waker.wake();
        }
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
        let (number, kept) = (client.number, client.kept);
        self.close_client_end(index);
        if kept == KeptBy::Process {
            self.process_is_gone(number);
        }
    }
}
