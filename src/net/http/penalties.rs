//! Slows down clients that guess tokens: after a few wrong ones from an address, its next ones are not even compared until
//! a growing pause is over. Bounded; `now` is an argument.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// Wrong tokens from one address that cost nothing, as a typing error does.
const FREE: u32 = 3;
/// The first pause; each further wrong token doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// An address is forgotten this long after its last wrong token.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Addresses remembered at the same time. All others share one entry.
const ADDRESSES: usize = 1_024;

/// The addresses that sent wrong tokens. None: a Unix socket, or one of too many addresses.
#[derive(Debug, Default)]
pub struct Penalties(HashMap<Option<IpAddr>, Penalty>);

#[derive(Debug)]
struct Penalty {
    failures: u32,
    last: Instant,
}

impl Penalty {
    fn until(&self) -> Instant {
        match self.failures.checked_sub(FREE) {
            None => self.last,
            Some(beyond) => self.last + FIRST_PAUSE.saturating_mul(1 << beyond.min(16)).min(LONGEST_PAUSE),
        }
    }
}

impl Penalties {
    /// How long this address still has to wait before its next token is compared; zero: it need not wait.
    pub fn pause(&self, address: Option<IpAddr>, now: Instant) -> Duration {
        let penalty = self.0.get(&network(address)).or_else(|| self.0.get(&None));
        penalty.map_or(Duration::ZERO, |penalty| penalty.until().saturating_duration_since(now))
    }

    /// Records a wrong token. Returns how many there have been from this address.
    pub fn failed(&mut self, address: Option<IpAddr>, now: Instant) -> u32 {
        if self.0.len() >= ADDRESSES {
            self.0.retain(|_, penalty| now.saturating_duration_since(penalty.last) < FORGET_AFTER);
        }
        let address = network(address);
        let key = if self.0.len() < ADDRESSES || self.0.contains_key(&address) { address } else { None };
        let penalty = self.0.entry(key).or_insert(Penalty { failures: 0, last: now });
        if now.saturating_duration_since(penalty.last) >= FORGET_AFTER {
            penalty.failures = 0;
        }
        penalty.failures = penalty.failures.saturating_add(1);
        penalty.last = now;
        penalty.failures
    }

    /// Records a right token.
    pub fn passed(&mut self, address: Option<IpAddr>) {
        self.0.remove(&network(address));
    }
}

/// What one client has to itself: an IPv4 address, or the 2^64 addresses of an IPv6 network.
fn network(address: Option<IpAddr>) -> Option<IpAddr> {
    match address? {
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
        address => Some(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(n: u32) -> Option<IpAddr> {
        Some(Ipv4Addr::from(n).into())
    }

    #[test]
    fn pauses_grow_with_wrong_tokens_and_end() {
        let (mut penalties, start) = (Penalties::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..9 {
            penalties.failed(address(1), start);
            pauses.push(penalties.pause(address(1), start).as_secs());
        }
        assert_eq!(pauses, [0, 0, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(penalties.pause(address(2), start), Duration::ZERO);
        assert_eq!(penalties.pause(address(1), start + 30 * SECOND), Duration::ZERO);
        assert_eq!(penalties.failed(address(1), start + 30 * SECOND), 10);
        assert_eq!(penalties.failed(address(1), start + 700 * SECOND), 1);
        penalties.failed(address(1), start + 700 * SECOND);
        penalties.passed(address(1));
        assert_eq!(penalties.failed(address(1), start + 700 * SECOND), 1);
    }

    #[test]
    fn addresses_of_one_network_count_together() {
        let (mut penalties, start) = (Penalties::default(), Instant::now());
        let address = |text: &str| -> Option<IpAddr> { Some(text.parse().unwrap()) };
        for host in ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:0:3"] {
            penalties.failed(address(host), start);
        }
        assert!(penalties.pause(address("2001:db8::4"), start) > Duration::ZERO);
        assert_eq!(penalties.pause(address("2001:db8:0:1::4"), start), Duration::ZERO);
    }

    #[test]
    fn addresses_are_bounded() {
        let (mut penalties, start) = (Penalties::default(), Instant::now());
        (0..5_000).for_each(|n| {
            penalties.failed(address(n), start);
        });
        assert!(penalties.0.len() <= ADDRESSES + 1);
        assert!(penalties.pause(address(4_999), start) > Duration::ZERO, "those that have no entry share one");
        penalties.failed(address(9_999), start + FORGET_AFTER);
        assert_eq!(penalties.0.len(), 1);
    }
}
