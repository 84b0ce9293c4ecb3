//! A caller who keeps sending wrong credentials must wait. Right ones always pass.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::admission::network;
use tenure_protocol::clock::stopwatch;

/// The contract counts by the minute, in real time.
const WINDOW: Duration = Duration::from_mins(1);
/// Maximum number of addresses remembered, so that memory is bounded. When full, all are forgotten.
const ADDRESSES: usize = 100_000;

/// How many wrong credentials came from each address in the current minute.
#[derive(Debug)]
pub(crate) struct CredentialThrottle {
    most: u32,
    counts: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

impl CredentialThrottle {
    /// Lets `most` wrong credentials a minute pass as such; 0 is no limit.
    pub(crate) fn new(most: u32) -> Self {
        Self { most, counts: Mutex::default() }
    }

    /// Counts a wrong credential; the seconds to wait when there were too many.
    pub(crate) fn wrong(&self, address: IpAddr) -> Option<u32> {
        if self.most == 0 {
            return None;
        }
        let now = stopwatch();
        let mut counts = self.counts.lock();
        if counts.len() >= ADDRESSES {
            counts.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
            if counts.len() >= ADDRESSES {
                counts.clear();
            }
        }
        let (since, count) = counts.entry(network(address)).or_insert((now, 0));
        if now.duration_since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        let left = WINDOW.saturating_sub(now.duration_since(*since));
        (*count > self.most).then(|| u32::try_from(left.as_secs()).unwrap_or(60).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_wrong_credential_of_a_minute_is_told_to_wait() {
        let throttle = CredentialThrottle::new(10);
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..10 {
            assert_eq!(throttle.wrong(address), None);
        }
        assert!(throttle.wrong(address).is_some_and(|wait| (1..=60).contains(&wait)));
        assert_eq!(throttle.wrong("192.0.2.2".parse().unwrap()), None);
    }

    #[test]
    fn a_client_cannot_hide_in_its_ipv6_network() {
        let throttle = CredentialThrottle::new(1);
        assert_eq!(throttle.wrong("2001:db8::1".parse().unwrap()), None);
        assert!(throttle.wrong("2001:db8::2".parse().unwrap()).is_some());
    }

    #[test]
    fn zero_is_no_limit() {
        let throttle = CredentialThrottle::new(0);
        assert!((0..100).all(|_| throttle.wrong("192.0.2.1".parse().unwrap()).is_none()));
    }
}
