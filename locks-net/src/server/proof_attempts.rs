use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use locks_core::Moment;

/// Proofs, by address (N5). Each makes the next refusal of that address come later, so that
/// guessing is slow; whoever knows the secret is never made to wait.
#[derive(Debug, Default)]
pub(super) struct ProofAttempts {
    failed: HashMap<IpAddr, Failed>,
    /// Those of addresses that do not fit into the table.
    others: Failed,
    /// When somebody from there was let in last.
    familiar: HashMap<IpAddr, Moment>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Failed {
    times: u32,
    last: Option<Moment>,
}

/// So many addresses are kept apart.
const ADDRESSES: usize = 1024;

/// What lies back for longer is forgotten.
const MEMORY: Duration = Duration::from_secs(60);

/// After the first failure, and after many: whoever was wrong still waits for the answer, and hears
/// why.
const DELAYS: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(600)];

impl ProofAttempts {
    /// One more has failed. How long its refusal is to be delayed.
    pub(super) fn failed(&mut self, address: IpAddr, now: Moment) -> Duration {
        if self.failed.len() >= ADDRESSES && !self.failed.contains_key(&address) {
            self.failed.retain(|_, failed| !failed.is_forgotten(now));
        }
        let failed = if self.failed.len() < ADDRESSES || self.failed.contains_key(&address) {
            self.failed.entry(address).or_default()
        } else {
            &mut self.others
        };
        if failed.is_forgotten(now) {
            failed.times = 0;
        }
        failed.times = failed.times.saturating_add(1);
        failed.last = Some(now);
        let [first, longest] = DELAYS;
        first.saturating_mul(1 << (failed.times - 1).min(16)).min(longest)
    }
}

impl ProofAttempts {
    /// Somebody from there was let in.
    pub(super) fn let_in(&mut self, address: IpAddr, now: Moment) {
        if self.familiar.len() >= ADDRESSES && !self.familiar.contains_key(&address) {
            self.familiar.retain(|_, at| now.since(*at) < MEMORY);
        }
        if self.familiar.len() < ADDRESSES || self.familiar.contains_key(&address) {
            self.familiar.insert(address, now);
        }
    }

    /// Whether somebody from there was let in within so long a time.
    pub(super) fn is_familiar(&self, address: IpAddr, within: Duration, now: Moment) -> bool {
        self.familiar.get(&address).is_some_and(|at| now.since(*at) <= within)
    }
}

impl Failed {
    fn is_forgotten(&self, now: Moment) -> bool {
        self.last.is_none_or(|last| now.since(last) >= MEMORY)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(0x7f00_0000 + number))
    }

    #[test]
    fn n5_refusals_slow_down_address_by_address_and_recover() {
        let mut attempts = ProofAttempts::default();
        let start = Moment::from_nanos(5);
        let delays: Vec<_> =
            (0..7).map(|_| attempts.failed(address(1), start).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 600, 600, 600, 600]);
        assert_eq!(attempts.failed(address(2), start).as_millis(), 100);
        let later = start.after(MEMORY);
        assert_eq!(attempts.failed(address(1), later).as_millis(), 100);
    }

    #[test]
    fn n5_the_table_of_addresses_is_bounded() {
        let mut attempts = ProofAttempts::default();
        let start = Moment::from_nanos(5);
        let mut longest = Duration::ZERO;
        for number in 0..10_000 {
            longest = longest.max(attempts.failed(address(number), start));
        }
        assert_eq!(attempts.failed.len(), ADDRESSES);
        assert_eq!(longest, DELAYS[1], "those that do not fit share one count");
        attempts.failed(address(20_000), start.after(MEMORY));
        assert_eq!(attempts.failed.len(), 1);
    }
}
