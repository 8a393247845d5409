//! What happens by itself: renewals, deadlines, and giving up a connection that is silent.

use std::time::Duration;

use locks_core::Moment;

use super::ClientSession;
use super::connection::{LinkStage, SessionConnection};
use super::inbox::Inbox;
use crate::wire::Call;

/// How long a server may take to open a session (N3).
const HANDSHAKE: Duration = Duration::from_secs(1);

/// For shorter bounds than that there are no more heartbeats.
const SHORTEST_BOUND: Duration = Duration::from_millis(200);

impl ClientSession {
    /// Does what is due by now. Whether the connection is to be given up: it is silent.
    #[must_use]
    pub(crate) fn tick(&mut self) -> bool {
        let now = self.now();
        self.expire_asks(now);
        self.expire_holds(now);
        self.expire_mail();
        let Some(connection) = &self.connection else { return false };
        if !matches!(connection.stage, LinkStage::Open) {
            let silent = now >= connection.since.after(HANDSHAKE);
            if silent {
                self.trouble = Some("it accepts connections and says nothing".into());
            }
            return silent;
        }
        if self.renewal_due().is_none_or(|due| now < due) {
            return false;
        }
        let lease = self.established.as_ref().map_or(Duration::MAX, |it| it.trust.lease);
        if self.silent_since.is_some_and(|silent| now >= silent.after(lease / 2)) {
            self.trouble = Some("it does not answer".into());
            return true;
        }
        // Also where one is under way: what counts is when the newest was sent that is answered.
        self.ping();
        false
    }

    /// How long a server may be silent, and how long a pause between attempts to reach it may be,
    /// so that no lease runs out for want of trying (N7); `None`: there is none to be kept.
    pub(crate) fn beat(&self) -> Option<Duration> {
        let shortest = self.shortest_lease()?;
        (!self.is_idle()).then(|| (shortest / 20).max(Duration::from_millis(10)))
    }

    /// Since when an answer is due; `None`: none is, or the silence of this server says nothing.
    pub(crate) fn silent_since(&self) -> Option<Moment> {
        let renews = self.established.as_ref().is_some_and(|it| it.trust.renews);
        let owes_proof = self.connection.as_ref().is_some_and(SessionConnection::is_proving);
        self.silent_since.filter(|_| renews && !(self.overtook_proof && owes_proof))
    }

    fn shortest_lease(&self) -> Option<Duration> {
        let established = self.established.as_ref()?;
        let leases =
            [self.leases.shortest(), self.wanted.shortest(), Some(established.trust.lease)];
        leases.into_iter().flatten().min()
    }

    /// Until when nothing happens by itself.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        let asks = self.deadlines.first().map(|(deadline, _)| *deadline);
        let handshake = self.connection.as_ref().and_then(|connection| {
            let open = matches!(connection.stage, LinkStage::Open);
            (!open).then(|| connection.since.after(HANDSHAKE))
        });
        let expiry = self.leases.shortest().and_then(|shortest| {
            self.established.as_ref().and_then(|it| it.trust.until(Some(shortest)))
        });
        let mail = self.mail.as_ref().and_then(Inbox::next_end).map(|left| self.now().after(left));
        let bound = self.bounds.first().map(|(at, _)| *at);
        [asks, handshake, expiry, bound, mail, self.renewal_due()].into_iter().flatten().min()
    }

    /// When the next heartbeat is due, where there are any.
    fn renewal_due(&self) -> Option<Moment> {
        let established =
            self.established.as_ref().filter(|it| it.trust.renews && self.is_open())?;
        let last = self
            .last_ping
            .map_or(established.trust.base(), |(_, at)| at.max(established.trust.base()));
        // A bound counts from the last heartbeat before the grant, if it had to be waited for.
        let bound = self.wanted_bounds.shortest().map(|bound| bound.max(SHORTEST_BOUND));
        let shortest = self.shortest_lease()?;
        Some(last.after(bound.map_or(shortest, |bound| bound.min(shortest)) / 10))
    }

    /// Has the server say that it is there.
    pub(super) fn ping(&mut self) {
        let now = self.now();
        let number = self.transmit(&Call::Ping);
        self.last_ping = Some((number, now));
        self.silent_since.get_or_insert(now);
    }

    /// A heartbeat for a grant whose validity is past (C8), unless one is under way that would do.
    pub(super) fn ping_for_proof(&mut self, request: u64) {
        if !self.unproven.contains(&request) {
            self.unproven.push(request);
        }
        if !self.is_open() {
            return;
        }
        let unacknowledged = self.channel.first_unacknowledged();
        let under_way = self.last_ping.is_some_and(|(number, at)| {
            let covers = self.established.as_ref().is_some_and(|it| at > it.trust.base());
            covers && unacknowledged.is_some_and(|first| first <= number)
        });
        if !under_way {
            self.ping();
        }
    }
}
