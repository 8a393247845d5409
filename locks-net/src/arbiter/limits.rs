use std::time::Duration;

/// Resource limits of a server ([N6](locks_core::contract#n6-limits)). Exceeding one fails with
/// `LimitExceeded`; resumed sessions and existing holds are exempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Sessions, connected or not. 4,096 by default.
    pub sessions: usize,
    /// Connections that have not opened their session yet; when there are more, the oldest one of
    /// the busiest address is closed, addresses first from which no client was let in within a
    /// `lease`. 256 by default.
    pub newcomers: usize,
    /// Bytes of one frame, at least 4 KiB. 256 KiB by default.
    pub frame: usize,
    /// Keys held, waited for or reserved. 1,000,000 by default.
    pub keys: usize,
    /// Requests that wait. 100,000 by default.
    pub waiters: usize,
    /// Requests of one session that wait or hold. 1,000,000 by default.
    pub requests_per_session: usize,
    /// Bytes that one client has not read or acknowledged; when there are more, its connection is
    /// closed. 4 MiB by default.
    pub write_buffer: usize,
    /// Bytes of one message among clients, and 64 for it; at most 128 KiB. 64 KiB by default.
    pub message: usize,
    /// Messages that one client has not taken yet. 1,000 by default.
    pub messages_per_client: usize,
    /// Bytes of those, at most half of `write_buffer`. 1 MiB by default.
    pub message_bytes_per_client: usize,
    /// Messages that all clients together have not taken yet. 100,000 by default.
    pub messages: usize,
    /// Bytes of those. 64 MiB by default.
    pub message_bytes: usize,
    /// The time that a connection may take to open its session, a frame to arrive once it has
    /// begun, and a client to read what was written to it; the last two not where the client's
    /// process keeps the session, which may be stopped ([N1](locks_core::contract#n1-sessions)).
    /// 10 s by default.
    pub patience: Duration,
    /// The lease of sessions that ask for none. 10 s by default.
    pub lease: Duration,
    /// The shortest lease, 1 s by default.
    pub shortest_lease: Duration,
    /// The longest lease, 1 h by default.
    pub longest_lease: Duration,
    /// The longest hold: every hold ends by then, as if by `hold_at_most`. None by default.
    pub longest_hold: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 4096,
            newcomers: 256,
            frame: 256 * 1024,
            keys: 1_000_000,
            waiters: 100_000,
            requests_per_session: 1_000_000,
            write_buffer: 4 * 1024 * 1024,
            message: 64 * 1024,
            messages_per_client: 1000,
            message_bytes_per_client: 1024 * 1024,
            messages: 100_000,
            message_bytes: 64 * 1024 * 1024,
            patience: Duration::from_secs(10),
            lease: Duration::from_secs(10),
            shortest_lease: Duration::from_secs(1),
            longest_lease: Duration::from_secs(3600),
            longest_hold: None,
        }
    }
}
