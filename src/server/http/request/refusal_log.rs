//! Who keeps failing: a warning for each address, code and route, at once and then once a minute with a count, so that an
//! attack is seen in the log and cannot fill it.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::admission::network;
use tenure_core::CredentialId;
use tenure_protocol::clock::stopwatch;

/// How often the same is logged again.
const PERIOD: Duration = Duration::from_mins(1);
/// Maximum number of different ones remembered; beyond it all are forgotten and logged again.
const REMEMBERED: usize = 10_000;

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RefusalKey {
    /// The client's address, of IPv6 its network.
    pub(crate) address: Option<IpAddr>,
    pub(crate) code: &'static str,
    /// The path of the route, as the table has it.
    pub(crate) route: &'static str,
    /// The API key, where one was known.
    pub(crate) credential: Option<CredentialId>,
}

/// How often each was refused since it was logged.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog(Mutex<HashMap<RefusalKey, (Instant, u64)>>);

impl RefusalLog {
    /// Counts a refusal, and logs it when due.
    pub(crate) fn note(&self, refused: RefusalKey) {
        let refused = RefusalKey { address: refused.address.map(network), ..refused };
        if let Some(count) = self.count(refused, stopwatch()) {
            let RefusalKey { address, code, route, credential } = refused;
            let address = address.map_or_else(|| "?".to_owned(), |address| address.to_string());
            let credential = credential.map_or_else(|| "-".to_owned(), |id| id.to_string());
            tracing::warn!(%address, code, route, %credential, count, "requests were refused");
        }
    }

    /// How often it has happened since it was last logged, if it is to be logged now.
    fn count(&self, refused: RefusalKey, now: Instant) -> Option<u64> {
        let mut counts = self.0.lock();
        if counts.len() >= REMEMBERED && !counts.contains_key(&refused) {
            counts.clear();
        }
        let Some((told, since)) = counts.get_mut(&refused) else {
            counts.insert(refused, (now, 0));
            return Some(1);
        };
        *since += 1;
        if now.duration_since(*told) < PERIOD {
            return None;
        }
        *told = now;
        Some(std::mem::take(since))
    }
}
