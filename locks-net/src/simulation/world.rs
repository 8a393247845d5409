//! Time, and who is next.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use locks_core::Moment;

use super::client::SimulatedClient;
use super::clock::SimulatedMachine;
use super::disk::Disk;
use super::network::SimulatedConnection;
use super::plan::Plan;
use super::random::SeededRandom;
use super::server::SimulatedServer;
use crate::history::{Entry, What, check};

/// Everything.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) now: Moment,
    pub(super) random: SeededRandom,
    pub(super) history: Vec<Entry>,
    /// The server's machine, and that of all clients whose process keeps their session.
    pub(super) machine: SimulatedMachine,
    pub(super) disk: Disk,
    pub(super) server: SimulatedServer,
    pub(super) connections: BTreeMap<usize, SimulatedConnection>,
    pub(super) next_connection: usize,
    pub(super) clients: Vec<SimulatedClient>,
    /// The clients by the numbers that the server has given to their sessions.
    pub(super) realms: HashMap<u32, u32>,
    pub(super) next_fault: Option<Moment>,
    /// Nothing new is begun.
    pub(super) is_winding_up: bool,
    pub(super) failure: Option<String>,
}

/// Who is next.
#[derive(Clone, Copy, Debug)]
enum NextEvent {
    Server,
    Client(usize),
    Fault,
}

/// How a run went wrong.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) plan: Plan,
    pub(super) why: String,
    /// The last of what happened until then.
    pub(super) last: Vec<Entry>,
}

/// A run of this plan, to its end.
pub(super) fn run(plan: Plan) -> Result<Vec<Entry>, Box<Failure>> {
    let mut world = World::new(plan);
    world.run();
    world.judge()
}

impl World {
    fn new(plan: Plan) -> Self {
        let now = Moment::from_nanos(0);
        let mut random = SeededRandom::new(plan.seed);
        let drift = random.within(0..20_000) as i64 - 10_000;
        let machine = SimulatedMachine::new(now, Duration::from_secs(1000), drift);
        let mut world = Self {
            now,
            history: Vec::new(),
            machine,
            disk: Disk::default(),
            server: SimulatedServer::default(),
            connections: BTreeMap::new(),
            next_connection: 0,
            clients: Vec::new(),
            realms: HashMap::new(),
            next_fault: None,
            is_winding_up: false,
            failure: None,
            random,
            plan,
        };
        world.start_server();
        for _ in 0..world.plan.clients {
            world.join();
        }
        world.plan_fault();
        world
    }

    fn run(&mut self) {
        let end = self.now.after(self.plan.busy_for);
        self.go_on(end, |_| false);
        self.wind_up();
        let patience = self.now.after(Duration::from_secs(30));
        self.go_on(patience, World::is_quiet);
        // Whatever is still on its way has time to come.
        self.go_on(self.now.after(Duration::from_secs(3)), |_| false);
        let sessions = self.server.arbiter.as_ref().map_or(0, |it| it.live_sessions());
        self.tell(What::Quiet { sessions });
        for index in 0..self.clients.len() {
            self.leave(index);
        }
        // Leases of those who died, and reservations.
        self.go_on(self.now.after(Duration::from_secs(4)), |_| false);
        let left = self.server.arbiter.as_ref().map(|it| (it.live_keys(), it.live_sessions()));
        let (live_keys, sessions) = left.unwrap_or_default();
        self.tell(What::Finished { live_keys, sessions });
    }

    /// Until the time has come, or it is `enough`.
    fn go_on(&mut self, until: Moment, enough: impl Fn(&World) -> bool) {
        let mut steps = 0_u32;
        while self.failure.is_none() && !enough(self) {
            let Some((at, next)) = self.next().filter(|(at, _)| *at <= until) else {
                self.now = until;
                self.show_time();
                return;
            };
            self.now = self.now.max(at);
            self.show_time();
            match next {
                NextEvent::Server => self.serve(),
                NextEvent::Client(index) => self.drive(index),
                NextEvent::Fault => self.strike(),
            }
            steps += 1;
            if steps > 100_000 {
                self.failure = Some("there is no end to it".into());
            }
        }
    }

    fn next(&self) -> Option<(Moment, NextEvent)> {
        let server = self.server_is_due().map(|at| (at, NextEvent::Server));
        let fault = self.next_fault.map(|at| (at, NextEvent::Fault));
        let clients =
            self.clients.iter().enumerate().filter_map(|(index, _)| {
                Some((self.client_is_due(index)?, NextEvent::Client(index)))
            });
        clients.chain(server).chain(fault).min_by_key(|(at, _)| *at)
    }

    fn show_time(&self) {
        self.machine.show(self.now);
        for client in &self.clients {
            if let Some(machine) = &client.machine {
                machine.show(self.now);
            }
        }
    }

    fn is_quiet(&self) -> bool {
        self.clients
            .iter()
            .all(|client| client.is_gone || client.tasks.iter().all(|it| it.is_done()))
    }

    pub(super) fn tell(&mut self, what: What) {
        self.history.push(Entry { at: self.now, what });
    }

    fn judge(self) -> Result<Vec<Entry>, Box<Failure>> {
        let checked = check(&self.history);
        let (why, end) = match (self.failure, checked) {
            (None, Ok(())) => return Ok(self.history),
            (Some(why), Ok(())) => (why, self.history.len()),
            (None, Err(violation)) => (violation.why, violation.index + 1),
            // What stops a run is why it has not come to more.
            (Some(why), Err(violation)) => {
                (format!("{}; and {why}", violation.why), violation.index + 1)
            }
        };
        let mut last = self.history;
        last.truncate(end);
        last.drain(..end.saturating_sub(80));
        Err(Box::new(Failure { plan: self.plan, why, last }))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "seed {}: {}", self.plan.seed, self.why)?;
        writeln!(f, "run it alone by LOCKS_SIMULATION_SEED={}", self.plan.seed)?;
        writeln!(f, "{:?}", self.plan)?;
        for entry in &self.last {
            if !matches!(entry.what, What::Arrived { .. }) {
                writeln!(f, "{entry}")?;
            }
        }
        Ok(())
    }
}
