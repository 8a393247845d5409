//! The servers that a table's contestants talk to.

use std::fmt::Write;
use std::io;
use std::path::Path;

use super::address::{Address, Transport};
use super::child::Started;
use super::ours::Ours;
use super::postgres::Postgres;
use super::redis::Redis;
use crate::rows::place::Place;

/// All that could be started; they are stopped when this is dropped.
pub(super) struct Servers {
    pub(super) ours: [Result<Ours, String>; 2],
    pub(super) redis: Result<Redis, String>,
    pub(super) postgres: Result<Postgres, String>,
    floors: Vec<Started>,
    // Last, because the others use it.
    place: Place,
}

impl Servers {
    /// Starts ours, Redis and PostgreSQL, in directories below `base`.
    pub(super) fn start(base: &Path, table: &str) -> Self {
        let place = Place::new(base, table);
        let ours = Transport::ALL.map(|transport| Ours::start(transport, place.path()));
        let redis = Redis::start(place.path());
        let postgres = Postgres::start(base);
        Self { ours, redis, postgres, floors: Vec::new(), place }
    }

    /// Starts a floor, which this program contains.
    ///
    /// # Panics
    /// If it cannot be started.
    pub(super) fn floor(&mut self, role: &str, transport: Transport) -> Address {
        let address = transport.free(self.place.path(), role);
        self.floor_at(role, address)
    }

    /// Starts a floor that speaks TLS where it is by TCP, as ours does.
    ///
    /// # Panics
    /// If it cannot be started.
    pub(super) fn secured_floor(&mut self, role: &str, transport: Transport) -> Address {
        let address = transport.free(self.place.path(), role).map(Address::secured);
        self.floor_at(role, address)
    }

    fn floor_at(&mut self, role: &str, address: io::Result<Address>) -> Address {
        let started = address.and_then(|address| Started::serving_at(role, address));
        let (started, address) = started.unwrap_or_else(|error| panic!("{role}: {error}"));
        self.floors.push(started);
        address
    }

    pub(super) fn ours(&self, transport: Transport) -> Option<&Ours> {
        self.ours[transport as usize].as_ref().ok()
    }

    /// What is missing by that `transport`, to be said after what a table compares.
    pub(super) fn missing(&self, transport: Transport) -> String {
        let ours = self.ours[transport as usize].as_ref().err();
        let others = [self.redis.as_ref().err(), self.postgres.as_ref().err()];
        let mut text = String::new();
        for missing in [ours].into_iter().chain(others).flatten() {
            write!(text, "; {missing}").expect("a `String` takes everything");
        }
        text
    }
}

/// What a contestant says of itself if its server does not do what it is for.
pub(super) fn served(outcome: io::Result<()>) {
    outcome.expect("the server is there and grants");
}
