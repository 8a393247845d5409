//! What befalls servers, clients and the ways between them.

use std::time::Duration;

use locks_core::Moment;

use super::clock::SimulatedMachine;
use super::network::{ServerEnd, delay};
use super::plan::PlannedFault;
use super::server::POINTS;
use super::world::World;
use crate::history::{KeptBy, What};

impl World {
    pub(super) fn plan_fault(&mut self) {
        let calm = self.plan.calm.mul_f64(self.random.within(10..200) as f64 / 100.0);
        let any = !self.plan.faults.is_empty() && !self.is_winding_up;
        self.next_fault = any.then(|| self.now.after(calm));
    }

    /// Something happens.
    pub(super) fn strike(&mut self) {
        let fault = self.random.pick(&self.plan.faults).copied();
        match fault {
            None => {}
            Some(PlannedFault::Crash) => {
                if self.random.percent(70) {
                    self.server.dies_at = self.random.pick(&POINTS).copied();
                } else if self.server.arbiter.is_some() {
                    self.crashed();
                }
            }
            Some(PlannedFault::Reboot) => self.reboot(),
            Some(PlannedFault::StopServer) => {
                let until = self.a_while();
                if self.server.arbiter.is_some() {
                    self.server.stopped_until = Some(until);
                }
            }
            Some(PlannedFault::Suspend) => self.suspend(),
            Some(PlannedFault::Cut) => self.cut(true),
            Some(PlannedFault::HalfOpen) => self.cut(false),
            Some(PlannedFault::Partition) => self.partition(),
            Some(PlannedFault::Stop) => {
                let until = self.a_while();
                let index = self.any_client();
                self.stop(index, until);
            }
            Some(PlannedFault::Kill) => {
                let index = self.any_client();
                if !self.clients[index].is_gone {
                    self.kill(index);
                    self.join();
                }
            }
        }
        self.plan_fault();
    }

    /// One client's bytes do not pass, and not for the same time in both directions.
    fn partition(&mut self) {
        let (up, down) = (self.a_while(), self.a_while());
        let until = match self.random.within(0..4) {
            0 => (up, self.now),
            1 => (self.now, down),
            _ => (up, down),
        };
        let index = self.any_client();
        if self.clients[index].kept == KeptBy::Lease {
            self.clients[index].cut_off_until = Some(until);
            for connection in self.connections.values_mut().filter(|it| it.client == index) {
                connection.hold_up(until);
            }
        }
    }

    /// Everybody can do everything again, and nothing befalls them any more.
    pub(super) fn wind_up(&mut self) {
        self.is_winding_up = true;
        self.next_fault = None;
        self.server.dies_at = None;
        self.server.stopped_until = None;
        self.server.starts_at = self.server.starts_at.map(|at| at.min(self.now));
        for connection in self.connections.values_mut() {
            connection.let_through(self.now);
        }
        for index in 0..self.clients.len() {
            let now = self.now;
            let client = &mut self.clients[index];
            client.cut_off_until = None;
            client.stopped_until = client.stopped_until.map(|_| now);
        }
    }

    /// The server's process is gone.
    pub(super) fn crashed(&mut self) {
        let down_for = match self.random.percent(70) {
            true => self.random.millis(0..50),
            false => self.random.millis(50..2000),
        };
        self.server.arbiter = None;
        self.server.starts_at = Some(self.now.after(down_for));
        self.server.stopped_until = None;
        self.server.dies_at = None;
        self.tell(What::Crashed);
        self.break_all(false);
    }

    /// All connections end with the server. `silently`: nobody is there to say so.
    fn break_all(&mut self, silently: bool) {
        let mut cut = Vec::new();
        for connection in self.connections.values_mut() {
            if connection.server == ServerEnd::Closed {
                continue;
            }
            connection.server = ServerEnd::Closed;
            connection.up.drop_rest();
            let end = match connection.is_local {
                true => Some(self.now),
                false if silently => None,
                false => Some(self.now.after(delay(false, &mut self.random))),
            };
            connection.down.cut(end, &mut self.random);
            cut.push(self.clients[connection.client].number);
        }
        for client in cut {
            self.tell(What::Cut { client });
        }
        self.connections.retain(|_, connection| !connection.is_over());
    }

    /// The machine is started anew: all of its processes are gone, and its clocks begin again.
    fn reboot(&mut self) {
        let mut gone = 0;
        for index in 0..self.clients.len() {
            if self.clients[index].kept == KeptBy::Process && !self.clients[index].is_gone {
                self.kill(index);
                gone += 1;
            }
        }
        self.break_all(true);
        self.crashed();
        self.disk.rebooted();
        self.realms.clear();
        self.tell(What::Rebooted);
        let uptime = self.random.millis(1..3000);
        let drift = self.random.within(0..20_000) as i64 - 10_000;
        self.machine = SimulatedMachine::new(self.now, uptime, drift);
        for _ in 0..gone {
            self.join();
        }
    }

    /// The machine sleeps, and with it the server and all clients on it.
    fn suspend(&mut self) {
        let until = self.a_while();
        self.machine.sleeps(self.now, until);
        if self.server.arbiter.is_some() {
            self.server.stopped_until = Some(until);
        }
        self.server.starts_at = self.server.starts_at.map(|at| at.max(until));
        for index in 0..self.clients.len() {
            if self.clients[index].kept == KeptBy::Process {
                self.stop(index, until);
            }
        }
    }

    fn cut(&mut self, both_see_it: bool) {
        let now = self.now;
        // On one machine both ends see at once that it is over.
        let numbers = self.connections.iter().filter(|(_, it)| both_see_it || !it.is_local);
        let numbers = numbers.map(|(number, _)| *number).collect::<Vec<_>>();
        let Some(number) = self.random.pick(&numbers).copied() else { return };
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let (mut up, mut down) = (both_see_it, both_see_it);
        if !both_see_it {
            up = self.random.percent(50);
            down = !up && self.random.percent(50);
        }
        let is_local = connection.is_local;
        let mut seen = |sees: bool| {
            let late = delay(false, &mut self.random);
            sees.then(|| if is_local { now } else { now.after(late) })
        };
        let (up, down) = (seen(up), seen(down));
        connection.up.cut(up, &mut self.random);
        connection.down.cut(down, &mut self.random);
    }

    fn stop(&mut self, index: usize, until: Moment) {
        let client = &mut self.clients[index];
        if client.is_gone {
            return;
        }
        let number = client.number;
        let before = client.stopped_until.replace(until);
        if before.is_none() {
            self.tell(What::Paused { client: number });
        }
    }

    fn any_client(&mut self) -> usize {
        self.random.within(0..self.clients.len() as u64) as usize
    }

    /// Shorter than a lease, or longer.
    fn a_while(&mut self) -> Moment {
        let lease = self.plan.lease;
        let share = match self.random.percent(60) {
            true => self.random.within(1..60),
            false => self.random.within(60..250),
        };
        self.now.after(lease.mul_f64(share as f64 / 100.0)).after(Duration::from_micros(1))
    }
}
